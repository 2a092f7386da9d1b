"""matplotlib, imported on use."""

from typing import Any

__all__ = ["import_pyplot"]


def import_pyplot(caller: str) -> Any:
    """Import matplotlib, or say which extra installs it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f'{caller} needs matplotlib: pip install "sklearn-cmh[plot]" installs it.'
        ) from error
    return plt
