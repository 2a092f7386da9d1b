"""PyTorch is optional: this package can be imported without it, but not trained."""


def require_torch(estimator):
    """Import torch, or say how to get it.

    Parameters
    ----------
    estimator : object
        Whoever needs it.

    Raises
    ------
    ImportError
        If torch is not installed.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{type(estimator).__name__} needs PyTorch, which is not installed: "
            'pip install "sklearn-cmh[torch]".'
        ) from error
