"""What the service behind a logger says, as an error in words."""

from slifmr_pl.errors import ConfigError

_FIXES = {
    "mlflow": "for example --trainer.logger.tracking_uri sqlite:///mlflow.db, or the address of a "
    "server",
    "wandb": "`wandb login`, or --trainer.logger.offline true",
}
"""By the package that a logger writes with, which is what its exceptions are of."""


def logger_refusal(error: Exception) -> ConfigError | None:
    """What keeps a logger from writing; None of any other error."""
    said: BaseException | None = error
    while said is not None and _package(said) not in _FIXES:
        said = said.__cause__ or said.__context__  # the parser passes on what a class says
    if said is None:
        return None
    package = _package(said)
    reason = str(said).strip().partition("\n\n")[0]
    return ConfigError(
        f"{package} does not take the run: {reason or type(said).__name__}",
        expected="a logger that can write where it is told to",
        fix=f"{_FIXES[package]}; or leave --trainer.logger out",
    )


def _package(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]
