"""How a command ends: what went wrong in words, and an exit status."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import SIGTERMException

from slifmr_pl.callbacks.graceful_stop import StoppedError
from slifmr_pl.errors import StorageError, UserFacingError


@dataclass
class ExitStatus:
    """What a command ends with: 0, 2 where the user has to mend something, 128 + a signal."""

    code: int = 0


@contextmanager
def exit_status() -> Iterator[ExitStatus]:
    """Turns what a user can meet into a message and an exit status, without a traceback.

    Errors of the program itself pass, as do exits of the argument parser.
    """
    status = ExitStatus()
    try:
        yield status
    except (UserFacingError, MisconfigurationException) as error:  # ours, and the Trainer's
        status.code = _report(f"error: {error}", 2)
    except StoppedError as stopped:
        # All processes stop together, and the first one speaks for them. Lightning would kill it
        # if it were still ending when another one has ended with a status other than 0.
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]  # Lightning sets it
            status.code = _report(
                f"Stopped. All is saved up to here; go on with --ckpt_path {stopped.checkpoint}",
                128 + stopped.signum,
            )
    except KeyboardInterrupt as interrupt:
        status.code = _interrupted(interrupt)
    except SIGTERMException:
        status.code = _report("Stopped.", 128 + signal.SIGTERM)
    except SystemExit as end:
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise
        status.code = _interrupted(end.__context__)  # Lightning exits with 1 instead
    except OSError as error:
        if not StorageError.is_meant(error):
            raise
        status.code = _report(f"error: {StorageError.of(error)}", 2)


def _interrupted(interrupt: KeyboardInterrupt) -> int:
    signum = interrupt.args[0] if interrupt.args else signal.SIGINT
    return _report("Stopped; what was saved before is whole.", 128 + signum)


def _report(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code
