"""The loss of many places at once, with its gradient, a few rows of logits in memory at a time.

A head of thousands of tokens makes logits that no cache holds. They are wanted only for their
gradient, softmax minus what is wanted, so that is computed while they are at hand.
"""

from __future__ import annotations

from typing import Any

import torch

_ROWS = 96


class HeadLoss(torch.autograd.Function):
    """Cross-entropy in nats, a mean of all rows, and the share of rows that are right.

    rows: float32 [rows, hidden], what the head multiplies. head: float32 [tokens, hidden].
    wanted: int64 [rows, n], tokens, the likeliest first; shares: float32, the same shape, how much
    of each is wanted, 1 together. precision: of the products. Right is a row whose largest logit
    is the first wanted token's.
    """

    @staticmethod
    def forward(  # noqa: PLR0917  (torch passes them by place)
        ctx: Any,
        rows: torch.Tensor,
        head: torch.Tensor,
        wanted: torch.Tensor,
        shares: torch.Tensor,
        precision: torch.dtype,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Computes both results and the gradients of the first."""
        count = len(rows)
        factors, small_head = rows.to(precision), head.to(precision)
        slopes = torch.empty(count, len(head), dtype=precision)
        rows_slope = torch.empty(count, rows.shape[1], dtype=precision)
        loss, right = torch.zeros(()), torch.zeros(())
        for begin in range(0, count, _ROWS):
            part = slice(begin, begin + _ROWS)
            logits = (factors[part] @ small_head.T).float()
            most, likeliest = logits.max(1, keepdim=True)
            logits -= most
            foretold = logits.gather(1, wanted[part])
            shared = logits.exp_().sum(1, keepdim=True)
            loss -= ((foretold - shared.log()) * shares[part]).sum()
            right += (likeliest == wanted[part, :1]).sum()
            logits /= shared
            logits.scatter_add_(1, wanted[part], -shares[part])
            slopes[part] = logits / count
            rows_slope[part] = slopes[part] @ small_head
        ctx.save_for_backward(rows_slope.float(), (slopes.T @ factors).float())
        ctx.mark_non_differentiable(right)
        return loss / count, right / count

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradients of rows and head."""
        rows_slope, head_slope = ctx.saved_tensors
        return rows_slope * outer[0], head_slope * outer[0], None, None, None
