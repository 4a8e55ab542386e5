"""Learning rates: linear warm-up, then linear decay."""

import torch
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)


@register_checkpoint_hooks
class WarmupLinearDecay:
    """Linear warm-up, then linear decay until the last step.

    SpeechBrain's schedulers of this shape take the number of steps from the
    YAML, where a changed batch size makes it wrong; here the Brain computes it
    from the data.

    Arguments
    ---------
    lr : float
        Highest learning rate.
    warmup_steps : int
        Steps until it is reached.
    total_steps : int, optional
        Steps of the whole training, ``--optimizer_step_limit`` if that ends
        it; None until the Brain has counted them.
    final_share : float
        Share of ``lr`` that the decay ends at.

    Example
    -------
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    >>> schedule = WarmupLinearDecay(lr=1.0, warmup_steps=2, total_steps=6)
    >>> [schedule(optimizer)[1] for _ in range(6)]
    [0.5, 1.0, 0.8, 0.6, 0.4, 0.2]
    """

    def __init__(
        self,
        lr: float,
        warmup_steps: int,
        total_steps: int | None = None,
        final_share: float = 0.0,
    ):
        self.lr = lr
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.final_share = final_share
        self.steps = 0

    def __call__(self, optimizer: torch.optim.Optimizer) -> tuple[float, float]:
        """Sets the rate of the next step, in all parameter groups.

        Arguments
        ---------
        optimizer : torch.optim.Optimizer
            Its parameter groups are changed.

        Returns
        -------
        tuple of float
            The rate before and after.
        """
        if self.total_steps is None:
            raise ValueError("WarmupLinearDecay needs total_steps.")
        self.steps += 1
        rising = self.steps / max(self.warmup_steps, 1)
        left = self.total_steps + 1 - self.steps
        falling = left / max(self.total_steps + 1 - self.warmup_steps, 1)
        before = optimizer.param_groups[0]["lr"]
        falling = self.final_share + (1 - self.final_share) * max(falling, 0.0)
        rate = self.lr * min(rising, falling, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate
        return before, rate

    @mark_as_saver
    def _save(self, path):
        torch.save({"steps": self.steps}, path)

    @mark_as_loader
    def _load(self, path, end_of_epoch=False):
        del end_of_epoch
        self.steps = torch.load(path)["steps"]
