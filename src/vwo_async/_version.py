"""The one place that names the version, and the name under which VWO's servers see this SDK."""

PACKAGE_NAME = "vwo-async-python-sdk"
__version__ = "0.1.0"
USER_AGENT = f"{PACKAGE_NAME}/{__version__}"
