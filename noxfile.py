"""Sessions in fresh environments: `nox -s tests`, `oldest`, `lint`, `docs`; `nox -l` lists all."""

import nox

nox.options.sessions = ["lint", "tests"]


@nox.session
def tests(session):
    """Tests and doctests with the newest dependencies."""
    session.install("-e", ".[tests,fast,faiss,lance,postgres,duckdb,dask,plot]")
    session.run("pytest", "-n", "auto", "--dist", "loadfile", *session.posargs)


@nox.session
def oldest(session):
    """The same with the oldest supported dependencies."""
    session.install("-c", ".ci/oldest.txt", "-e", ".[tests,fast,plot]")
    session.run("pytest", "-n", "auto", "--dist", "loadfile", *session.posargs)


@nox.session
def kernels(session):
    """Numerics on OpenBLAS's and NumPy's kernels for processors without AVX-512."""
    session.install("-e", ".[tests,fast,plot]")
    targets = session.run("python", ".ci/kernels.py", "avx512", silent=True).strip()
    env = {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": targets}
    session.run("python", ".ci/kernels.py", env=env)
    session.run("pytest", "-n", "auto", "--dist", "loadfile", "tests", *session.posargs, env=env)


@nox.session
def deep(session):
    """Tests of the deep methods."""
    session.install("-e", ".[tests,torch]")
    session.run("pytest", "tests/deep", "sklearn_cmh/deep", *session.posargs)


@nox.session
def fuzz(session):
    """Thousands of odd inputs, other ones every time; an hour or so."""
    session.install("-e", ".[tests,fast,faiss]")
    env = {"HYPOTHESIS_PROFILE": "long"}
    session.run(
        "pytest",
        "-n",
        "auto",
        "--dist",
        "loadfile",
        "tests/test_fuzz.py",
        *session.posargs,
        env=env,
    )


@nox.session
def faults(session):
    """Interruptions, damaged files, crowds, and bits on other kernels: the long form; minutes."""
    session.install("-e", ".[tests,fast]")
    env = {"HYPOTHESIS_PROFILE": "long"}
    files = ["tests/test_faults.py", "tests/test_determinism.py", "tests/test_numerics.py"]
    session.run("pytest", *files, *session.posargs, env=env)


@nox.session
def coverage(session):
    """Lines and branches that the tests reach, but for deep methods and the demonstration."""
    session.install("-e", ".[tests,fast,faiss,lance,postgres,duckdb,dask,plot,demo,onnx]")
    session.install("pytest-cov")
    options = ["--ignore=tests/deep", "--ignore=sklearn_cmh/deep", "--cov"]
    options += ["--cov-report=term-missing:skip-covered"]
    session.run("pytest", "-n", "2", "--dist", "loadfile", *options, *session.posargs)


@nox.session
def mutation(session):
    """Whether tests notice changes of the core: a sample of mutants in half an hour."""
    session.install("-e", ".[tests,fast]")
    session.run("python", "benchmarks/mutation.py", *session.posargs)


@nox.session
def soak(session):
    """Twenty minutes of random use: nothing grows, and results stay."""
    session.install("-e", ".[fast]")
    session.run("python", "benchmarks/soak.py", *session.posargs)


@nox.session
def lint(session):
    """Lint, formatting and types."""
    session.install("ruff>=0.17,<0.18", "mypy>=2,<3", "pytest", "-e", ".")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("pytest", "--noconftest", "tests/test_types.py")


@nox.session
def docs(session):
    """The documentation with its gallery; warnings are errors."""
    session.install("-e", ".[docs,demo,tests,faiss,duckdb,dask]")
    target = "docs/_build/html"
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", target)
    session.log("Open %s/index.html", target)


@nox.session
def benchmarks(session):
    """Short runs of the benchmarks."""
    session.install("-e", ".[fast,faiss,plot]")
    session.run("python", "benchmarks/hamming.py", *(session.posargs or ["--short"]))
