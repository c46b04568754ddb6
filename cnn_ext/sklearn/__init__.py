"""Networks as estimators of scikit-learn: `CNNClassifier` and `CNNRegressor`.

Needs scikit-learn (``pip install 'cnn_ext[sklearn]'``); nothing else of the package imports it.
"""

try:
    from .estimators import CNNClassifier, CNNRegressor
except ImportError as error:
    if (error.name or "").partition(".")[0] == "cnn_ext":
        raise
    raise ImportError(
        f"cnn_ext.sklearn needs scikit-learn 1.6 or newer: pip install 'cnn_ext[sklearn]' ({error})"
    ) from error

__all__ = ["CNNClassifier", "CNNRegressor"]
