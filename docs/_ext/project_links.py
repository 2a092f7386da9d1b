"""What the pages link to outside, from `project_urls` in setup.cfg: written down once.

Keys that are understood: Documentation, Source. A repository that has no address yet gives pages
without links to it. The line `Source = https://github.com/owner/repository` is all that it takes
for the icons of repository and issues, a button to edit each page, and sources on the repository.
"""

import configparser
from pathlib import Path
from urllib.parse import urlsplit

SETUP = Path(__file__).resolve().parents[2] / "setup.cfg"


def project_urls(path=SETUP):
    """Addresses by name."""
    config = configparser.ConfigParser()
    config.read(path, encoding="utf-8")
    lines = config["metadata"]["project_urls"].strip().splitlines()
    urls = dict(map(str.strip, line.split("=", 1)) for line in lines)
    if "Source" in urls:
        urls.setdefault("Issues", f"{urls['Source']}/issues")
    return urls


def theme_options(urls):
    """Icons of the header, and the button that opens a page's source for editing."""
    links = [
        ("Source", "Repository", "fa-brands fa-github"),
        ("Issues", "Issues", "fa-solid fa-bug"),
    ]
    icons = [
        {"name": title, "url": urls[key], "icon": icon} for key, title, icon in links if key in urls
    ]
    return {"icon_links": icons, "use_edit_page_button": "Source" in urls}


def html_context(urls):
    """What the theme needs to know to link to a page's source."""
    if "Source" not in urls:
        return {}
    address = urlsplit(urls["Source"])
    user, repository = address.path.strip("/").split("/")[:2]
    return {
        "github_url": f"{address.scheme}://{address.netloc}",
        "github_user": user,
        "github_repo": repository,
        "github_version": "main",
        "doc_path": "docs",
    }
