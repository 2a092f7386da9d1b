"""The last step of a plan of skrub's DataOps, which scorers are given as a whole.

skrub has no public way from the object that scikit-learn's searches score (its
``_XyPipeline``) to the rows that the last step sees; what is private of it is used here only.
"""

from functools import partial

__all__ = ["is_plan", "last_step"]


def is_plan(estimator):
    """Whether `estimator` is what skrub hands to scikit-learn's searches."""
    return type(estimator).__module__.split(".")[0] == "skrub" and hasattr(estimator, "data_op")


def last_step(plan):
    """The fitted estimator of the last step, and the function that prepares rows for it."""
    try:
        step = plan.data_op._skrub_impl
        estimator, X = step.estimator_, step.X
        get_environment = plan._get_env
    except AttributeError as error:
        raise TypeError(
            "The last step of this skrub plan is no fitted estimator, or this version of skrub "
            "keeps it elsewhere: give the step a name, and pass what find_fitted_estimator(name) "
            f"returns to the scorer ({error})."
        ) from error
    # Unless told not to, skrub wraps transformers so that they apply to some of the columns.
    estimator = getattr(estimator, "transformer_", estimator)
    return estimator, partial(_rows_of, X, get_environment)


def _rows_of(X_node, get_environment, X):
    from skrub._data_ops._evaluation import evaluate

    return evaluate(X_node, "transform", get_environment(X, None), clear=True)
