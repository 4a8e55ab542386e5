"""A SpeechBrain checkpointer that survives being killed while it saves."""

import logging
import os
import shutil

from speechbrain.utils.checkpoints import Checkpoint, Checkpointer
from speechbrain.utils.distributed import ddp_barrier, if_main_process

from phasen_sb.errors import UserError

logger = logging.getLogger(__name__)

UNFINISHED = "UNFINISHED+"


class AtomicCheckpointer(Checkpointer):
    """Writes a checkpoint under another name and renames it when complete.

    SpeechBrain's ``Checkpointer`` writes the description first and the
    contents after it, so a process killed in between leaves a folder that
    looks like a checkpoint and cannot be loaded. Here it is only ever seen
    complete; what a killed process left is removed at the next save.

    Takes the arguments of ``speechbrain.utils.checkpoints.Checkpointer``.

    Example
    -------
    >>> import torch
    >>> folder = getfixture("tmp_path")
    >>> saver = AtomicCheckpointer(folder, {"net": torch.nn.Linear(1, 1)})
    >>> checkpoint = saver.save_checkpoint(meta={"pesq_wb": 2.0})
    >>> [path.name[:5] for path in folder.iterdir()]
    ['CKPT+']
    """

    def save_checkpoint(
        self, meta=None, end_of_epoch=True, name=None, verbosity=logging.INFO
    ) -> Checkpoint | None:
        """Saves as the parent does, but completely or not at all.

        Raises
        ------
        phasen_sb.errors.UserError
            If it cannot be written.
        """
        if if_main_process():
            for leftover in self.checkpoints_dir.glob(UNFINISHED + "*"):
                shutil.rmtree(leftover)
        try:
            unfinished = super().save_checkpoint(
                meta or {}, end_of_epoch, name, verbosity=logging.DEBUG
            )
        except (OSError, RuntimeError) as error:  # torch's, on a full disk
            raise UserError(
                f"No checkpoint could be written to {self.checkpoints_dir} "
                f"({_first_line(error)}); make room, then start the same "
                "command again."
            ) from error
        saved = None
        if unfinished is not None:
            saved = self._rename(unfinished)
            kind = "end-of-epoch" if end_of_epoch else "intra-epoch"
            logger.log(verbosity, f"Saved an {kind} checkpoint in {saved.path}")
        # All processes list the folder next, to delete older checkpoints, with
        # a broadcast for each. One that found it as it was before would wait
        # in another collective, for ever.
        ddp_barrier()
        return saved

    @staticmethod
    def _rename(unfinished):
        name = unfinished.path.name.removeprefix(UNFINISHED)
        final = unfinished.path.with_name(name)
        if final.exists():  # saved before under the same custom name
            replaced = final.with_name(f"{UNFINISHED}REPLACED+{name}")
            os.rename(final, replaced)
            os.rename(unfinished.path, final)
            shutil.rmtree(replaced)
        else:
            os.rename(unfinished.path, final)
        paramfiles = {
            name: final / path.name
            for name, path in unfinished.paramfiles.items()
        }
        return Checkpoint(final, unfinished.meta, paramfiles)

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Loads as the parent does.

        Raises
        ------
        phasen_sb.errors.UserError
            If it is damaged, or does not fit the objects.
        """
        try:
            super().load_checkpoint(checkpoint)
        except Exception as error:  # whatever damaged bytes make of pickle
            raise _damaged(checkpoint.path, error) from error

    @staticmethod
    def _construct_checkpoint_objects(checkpoint_dirs):
        checkpoints = []
        for folder in checkpoint_dirs:
            try:
                found = Checkpointer._construct_checkpoint_objects([folder])
                found[0].meta["unixtime"]  # by which they are sorted
            except Exception as error:
                raise _damaged(folder, error) from error
            checkpoints += found
        return checkpoints

    def _new_checkpoint_dirpath(self):
        return self._unfinished(super()._new_checkpoint_dirpath())

    def _custom_checkpoint_dirpath(self, name):
        return self._unfinished(super()._custom_checkpoint_dirpath(name))

    def _unfinished(self, path):
        return path.with_name(UNFINISHED + path.name)


def _damaged(folder, error):
    return UserError(
        f"The checkpoint {folder} cannot be loaded ({_first_line(error)}); "
        "delete this folder to go on from an older one, if there is any."
    )


def _first_line(error):
    return (str(error) or type(error).__name__).strip().splitlines()[0]
