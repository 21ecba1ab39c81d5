"""What the published boards of defenses show that cannot be right, in words: no measurement is needed for it."""

from __future__ import annotations

BOARDS = """## Cells of the published boards that cannot be right

This needs no measurement; it is what the boards and the released code say.

- **Tiny-ImageNet, PreAct-ResNet18, 5 %**: eight cells of AC, ABL and DBD equal those of GTSRB to the last digit, for
  instance AC on BadNets with 97.55 / 84.67 / 15.09 on a task on which the undefended model has 56 % accuracy. They are
  numbers of GTSRB. DBD's accuracy of 78.8 % there cannot be right for the same reason.
- **Accuracy above the undefended model's by more than 8 points**: 53 cells of CIFAR-100, 25 of GTSRB and 89 of
  Tiny-ImageNet, nearly all of AC and ABL on ConvNeXt and ViT. Most likely these were trained again from other weights
  with another recipe. DER does not notice; the cells compare with nothing.
- **D-BR at 10 to 17 % accuracy** on ten classes, and **ABL against TrojanNN** at 10 % with 11.1 % accuracy and an ASR
  of 100: networks at chance, which look like failed runs. Each board has 117 to 286 cells with an accuracy below 15 %.
- **Fine-pruning against TrojanNN** has -100 in the table of numbers: a mark of failure, and no measurement.

Cells that can be what the code gave, but are not results of the method that they name:

- **ANP and RNP** choose their threshold by the ASR on test data, **fine-pruning** stops by the accuracy on test data,
  and **DBD** keeps the checkpoint of the best accuracy on test data. No defender can reach these.
- **BNP**: the statistics of clean batches are overwritten by those of a second pass, and its sweep calls with one
  threshold only.
- **AC, ABL, DBD, D-BR and D-ST against WaNet, Input-Aware and BppAttack** look at rows that were written after the
  training to stand for it, not at what the model was trained on.
- **LIRA**: the classifier of its second stage is thrown away, and that of the first is saved.
- **AC** helps on 0 of 8 attacks at 10 % and on 0 of 10 at 5 %. The released code takes the rows' numbers from a
  shuffled loader; whether that is the reason was not tested.
- **All cells**: one seed, no row of a clean model, about a fifth of the cells empty.
"""
