"""The steps from dialogues to GGUF run, on the CPU, with the extra `train`."""

from __future__ import annotations

from pathlib import Path

import pytest

EXTRA = "needs the extra `train` (torch, tokenizers, gguf)"
torch = pytest.importorskip("torch", reason=EXTRA)
pytest.importorskip("tokenizers", reason=EXTRA)
pytest.importorskip("gguf", reason=EXTRA)

from training.nova_mini import data, export, tokens, train  # noqa: E402 - only with the extra


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    made = data.dialogues(1, 400)
    tokenizer = tokens.learn(made)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokens.pack(tokenizer, made, data.LENGTH).save(folder / "rows.npz")
    return folder


def test_only_answers_that_were_not_cut_off_are_learnt(work: Path) -> None:
    made = data.dialogues(2, 50)
    tokenizer = tokens.load(work / "tokenizer.json")
    for dialogue, (ids, learn) in zip(made, tokens.encode(tokenizer, made), strict=True):
        learnt = tokenizer.decode(ids[learn].tolist(), skip_special_tokens=False)
        assert learnt == "".join(f"{turn.answer}<|end|>" for turn in dialogue.turns if not turn.cut)


def test_a_row_holds_whole_dialogues(work: Path) -> None:
    packed = tokens.Packed.load(work / "rows.npz")
    end = tokens.load(work / "tokenizer.json").token_to_id("<|end|>")
    for row, dialogue in zip(packed.tokens, packed.dialogue, strict=True):
        for number in set(dialogue.tolist()) - {255}:
            assert row[dialogue == number][-1] == end


def test_a_dialogue_does_not_see_its_neighbors(work: Path) -> None:
    torch.manual_seed(0)
    model = train.Llama(train.Shape(tokens.VOCABULARY, layers=1))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    ids = torch.randint(0, tokens.VOCABULARY, (1, 12))
    dialogue = torch.tensor([[0] * 6 + [1] * 6])
    changed = ids.clone()
    changed[0, :6] = 7
    assert torch.equal(model(ids, dialogue)[0, 6:], model(changed, dialogue)[0, 6:])


def test_three_steps_lower_the_loss_go_on_and_make_a_gguf(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "REPORT_EVERY", 1)
    plan = train.Plan(steps=3, rows=2, warmup=1)
    train.Trainer(work, plan).train()
    losses = [float(line.split()[3]) for line in capsys.readouterr().out.splitlines() if "loss" in line]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert train.Trainer(work, plan).step == 3
    export.export(work, work / "made.gguf")
    assert (work / "made.gguf").read_bytes()[:4] == b"GGUF"


def test_a_checkpoint_of_another_plan_is_refused(work: Path) -> None:
    with pytest.raises(SystemExit, match="another plan"):
        train.Trainer(work, train.Plan(steps=5, rows=2))
