"""Step 2: training. Muon for the matrices, AdamW for the rest, bfloat16, loss on the assistant's tokens only.

CUDA when it is there, else the CPU, which does the same and takes hours. Ctrl-C loses at most `SAVE_EVERY`
steps: the next call goes on from the checkpoint, with the batches that the steps have by their number.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.nova_mini.model import Llama, Shape
from training.nova_mini.tokens import VOCABULARY, Packed

SAVE_EVERY = 250
REPORT_EVERY = 50


@dataclass(frozen=True)
class Plan:
    """`rows` of 1024 tokens in each of `steps` updates; the rate falls to 0 over the last `decay` part."""

    steps: int = 7000
    rows: int = 96
    warmup: int = 100
    decay: float = 0.6
    muon_rate: float = 0.02
    adam_rate: float = 3e-3
    seed: int = 0

    def rate(self, step: int) -> float:
        falling = (self.steps - step) / (self.steps * self.decay)
        return min(1.0, (step + 1) / self.warmup, falling)


class Trainer:
    def __init__(self, work: Path, plan: Plan) -> None:
        torch.manual_seed(plan.seed)
        self.work, self.plan, self.step = work, plan, 0
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = Llama(Shape(VOCABULARY)).to(self.device)
        self.run = torch.compile(self.model) if self.device.type == "cuda" else self.model
        matrices = [weight for weight in self.model.blk.parameters() if weight.ndim == 2]
        others = [weight for weight in self.model.parameters() if weight.ndim == 1]
        others.append(self.model.token_embd.weight)
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=plan.muon_rate, weight_decay=0.01, adjust_lr_fn="original"),
            torch.optim.AdamW(others, lr=plan.adam_rate, betas=(0.9, 0.95), weight_decay=0.0),
        ]
        rows = Packed.load(work / "rows.npz")
        parts = (rows.tokens.view(np.int16), rows.learn, rows.dialogue)
        self.rows = tuple(torch.from_numpy(part).to(self.device) for part in parts)
        self.order: tuple[int, Tensor] = (-1, torch.empty(0))
        self._resume()

    def train(self) -> None:
        started, seen = time.monotonic(), self.step
        while self.step < self.plan.steps:
            loss = self._update()
            self.step += 1
            if self.step % REPORT_EVERY == 0 or self.step == self.plan.steps:
                passed = time.monotonic() - started
                tokens = (self.step - seen) * self.plan.rows * self.rows[0].shape[1]
                print(
                    f"step {self.step} loss {loss.item():.4f} {passed:.0f} s {tokens / passed:.0f} tokens/s",
                    flush=True,
                )
            if self.step % SAVE_EVERY == 0 or self.step == self.plan.steps:
                self._save()
        weights = {
            name: tensor.detach().cpu().half().numpy() for name, tensor in self.model.state_dict().items()
        }
        np.savez(self.work / "weights.npz", **weights)
        (self.work / "shape.json").write_text(json.dumps(asdict(self.model.shape)))

    def _update(self) -> Tensor:
        for optimizer, rate in zip(self.optimizers, (self.plan.muon_rate, self.plan.adam_rate), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * self.plan.rate(self.step)
        tokens, learn, dialogue = self._batch()
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            hidden = self.run(tokens[:, :-1], dialogue[:, :-1])
            scores = self.model.logits(hidden[learn[:, 1:]])
        loss = functional.cross_entropy(scores.float(), tokens[:, 1:][learn[:, 1:]])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return loss

    def _batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """The rows of this step: each epoch goes through all of them in an order of its own."""
        count = len(self.rows[0])
        epoch, at = divmod(self.step, max(1, count // self.plan.rows))
        if self.order[0] != epoch:
            order = np.random.default_rng((self.plan.seed, epoch)).permutation(count)
            self.order = (epoch, torch.from_numpy(order).to(self.device))
        chosen = self.order[1][at * self.plan.rows : (at + 1) * self.plan.rows]
        tokens, learn, dialogue = (part[chosen] for part in self.rows)
        return tokens.long(), learn, dialogue

    @property
    def _checkpoint(self) -> Path:
        return self.work / "checkpoint.pt"

    def _save(self) -> None:
        state = {
            "plan": asdict(self.plan),
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        half_written = self._checkpoint.with_suffix(".part")
        torch.save(state, half_written)
        half_written.replace(self._checkpoint)

    def _resume(self) -> None:
        if not self._checkpoint.exists():
            return
        state = torch.load(self._checkpoint, map_location=self.device, weights_only=True)
        if state["plan"] != asdict(self.plan):
            raise SystemExit(
                f"{self._checkpoint} belongs to another plan: remove it, or train with that plan."
            )
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        for optimizer, stored in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(stored)
        print(f"going on from step {self.step}")
