"""A SpeechBrain checkpointer that survives being killed while it saves.

Authors
 * The phasen_sb authors 2026
"""

import os
import shutil

from speechbrain.utils.checkpoints import Checkpoint, Checkpointer
from speechbrain.utils.distributed import if_main_process

UNFINISHED = "UNFINISHED+"


class AtomicCheckpointer(Checkpointer):
    """Writes a checkpoint under another name and renames it when complete.

    SpeechBrain's ``Checkpointer`` writes the description first and the
    contents after it, so a process killed in between leaves a folder that
    looks like a checkpoint and cannot be loaded. Here it is only ever seen
    whole; what a killed process left is removed at the next save.

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

    def save_checkpoint(self, *args, **kwargs) -> Checkpoint | None:
        """Saves as the parent does, but whole or not at all."""
        if if_main_process():
            for leftover in self.checkpoints_dir.glob(UNFINISHED + "*"):
                shutil.rmtree(leftover)
        unfinished = super().save_checkpoint(*args, **kwargs)
        if unfinished is None:
            return None
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

    def _new_checkpoint_dirpath(self):
        return self._unfinished(super()._new_checkpoint_dirpath())

    def _custom_checkpoint_dirpath(self, name):
        return self._unfinished(super()._custom_checkpoint_dirpath(name))

    def _unfinished(self, path):
        return path.with_name(UNFINISHED + path.name)
