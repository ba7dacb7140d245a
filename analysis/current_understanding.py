"""Tables and figures of Knowledge Distillation: Current Understanding and Future Directions in an
Adversarial Context.

    python analysis/current_understanding.py RESULTS --out DIR

Table 1 is of sweeps/current_understanding/vanilla_mnist.yaml, table 2 of omitted_digits.yaml, table
3 of reversed.yaml, table 4 and figure 2 of teacher_free.yaml, table 5 of adversarial.yaml; figure 1
is a formula.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from kdray.core.wording import counted
from kdray.report import (
    PAGE,
    Draw,
    Figure,
    Snapshot,
    Table,
    attack_name,
    attack_text,
    caption,
    heat_map,
    labelled,
    legend,
    lines,
    of_one_evaluation,
    of_one_point,
    only,
    panels,
    published,
    run,
    under_pgd,
)
from kdray.report.papers.published_table import Column, Line, number_of_each, published_table

TITLE = (
    "Knowledge Distillation: Current Understanding and Future Directions in an Adversarial Context"
)
PAPER = "Zhuo, Zhang and Kuo"
MNIST, CIFAR = (f"{PAPER}, whose numbers are of {data}" for data in ("MNIST", "CIFAR-10"))
PRINTED = published("current_understanding")
REG, SELF = "Tf KD-reg", "Tf KD-self"
TEMPERATURE = "method.temperature"


def table_1(snapshot: Snapshot) -> Table:
    """Table 1: a large and a small network on MNIST."""
    students, teachers = snapshot.students("vanilla-mnist"), snapshot.teachers("vanilla-mnist")
    alone, taught = "Accuracy without distillation", "Accuracy with distillation"
    plain, accuracy = students["case"].eq("plain"), students["test_accuracy"]
    students = students.assign(**{alone: accuracy.where(plain), taught: accuracy.where(~plain)})
    teachers = teachers.assign(**{alone: teachers["test_accuracy"]})
    sizes = {"FLOPS": "macs", "# of Parameters": "weights"}
    found = [
        Line(row, trials.assign(**{name: trials[column] for name, column in sizes.items()}), role)
        for row, trials, role in (
            ("Large Model", teachers, "teacher"),
            ("Small Model", students, "student"),
        )
    ]
    columns = [
        Column("FLOPS", "Multiplications", None),
        Column("# of Parameters", "Weights", None),
        Column(alone, "Alone, %"),
        Column(taught, "Distilled, %"),
    ]
    what = (
        "Size and test accuracy of a large network and of a small one, which learns alone or "
        "from the large one"
    )
    title = "a large and a small network, with and without distillation"
    return published_table(
        "Table 1", PRINTED, columns, found, title=title, what=what, source=MNIST, head="Network"
    )


def table_2(snapshot: Snapshot) -> Table:
    """Table 2: digits that the student has never seen."""
    students = snapshot.students("omitted-digits")
    columns = []
    for case, kind in (("plain", "Without Distillation"), ("distilled", "With Distillation")):
        for metric, part, shown in (
            ("seen", "w/o the digit", "other digits"),
            ("omitted", "only the digit", "omitted digit"),
        ):
            measured = of_one_evaluation(
                snapshot.measured(students, evaluation="clean", metric=f"{metric}_accuracy")
            )
            measured = measured[measured["case"].eq(case)]
            students = students.assign(**{f"{kind}, {part}": number_of_each(students, measured)})
            columns.append(
                Column(
                    f"{kind}, {part}", f"{'Alone' if case == 'plain' else 'Distilled'}, {shown}, %"
                )
            )
    omitted = students["data.omit_classes"].map(json.loads)
    found = [
        Line(name, students[omitted.map(lambda digits, d=digit: digits == [d])])
        for name, digit in (("One", 1), ("Two", 2))
    ]
    what = (
        "Test accuracy of students that have never seen one digit, on that digit and on "
        "the nine others, alone and taught by a "
        "network that has seen all (temperature 10)"
    )
    title = "does a student know a digit that only its teacher has seen?"
    return published_table(
        "Table 2",
        PRINTED,
        columns,
        found,
        title=title,
        what=what,
        source=MNIST,
        head="Digit omitted",
    )


def table_3(snapshot: Snapshot) -> Table:
    """Table 3: a small network teaches a large one."""
    large, small = snapshot.students("reversed"), snapshot.teachers("reversed")
    large, small = (trials.assign(Accuracy=trials["test_accuracy"]) for trials in (large, small))
    found = [
        Line("Teacher: baseline", large[large["case"].eq("baseline")]),
        Line("Student: baseline", small, "teacher"),
        Line("Re-KD (S → T)", large[large["case"].eq("re_kd")]),
    ]
    what = (
        "Test accuracy of a large network alone (the paper's teacher, a ResNet-50), of a "
        "small one (a ResNet-18), and of the "
        "large one taught by the small one; in our sweep the one that teaches has the role "
        "of teacher"
    )
    columns = [Column("Accuracy", "Accuracy, %")]
    return published_table(
        "Table 3", PRINTED, columns, found, title="reversed distillation", what=what, source=CIFAR
    )


def table_4(snapshot: Snapshot) -> Table:
    """Table 4: distillation without a teacher."""
    students = snapshot.students("teacher-free")
    students = students.assign(Accuracy=students["test_accuracy"])
    reg, best = _regularised(students)
    found = [
        Line("ResNet18: baseline", students[students["case"].eq("baseline")]),
        Line(REG, reg[reg[TEMPERATURE].eq(best)]),
        Line(SELF, students[students["case"].eq("tf_kd_self")]),
        *(
            Line(f"{REG}, T = {temperature:g}", part)
            for temperature, part in reg.groupby(TEMPERATURE)
        ),
    ]
    what = (
        f"Test accuracy of ResNet-18 alone, with a virtual teacher ({REG}; the row without "
        "a temperature is the one with the "
        f"best validation accuracy, T = {best:g}: the paper does not give its own) and "
        f"taught by its twin ({SELF})"
    )
    columns = [Column("Accuracy", "Accuracy, %")]
    return published_table(
        "Table 4",
        PRINTED,
        columns,
        found,
        title="teacher-free distillation",
        what=what,
        source=CIFAR,
    )


def table_5(snapshot: Snapshot) -> Table:
    """Table 5: adversarial training with teacher-free distillation."""
    students = snapshot.students("adversarial-teacher-free")
    measured = of_one_evaluation(snapshot.measured(students, evaluation="autoattack"))
    if len(measured):
        attack = attack_name(measured)
    else:
        measured = under_pgd(snapshot, students)
        attack = "PGD" if measured.empty else attack_text(measured)
        attack += " (in place of AutoAttack)"
    students = students.assign(
        **{
            "Clean Accuracy": students["test_accuracy"],
            "AutoAttack Accuracy": number_of_each(students, measured),
        }
    )
    cases = {
        "ResNet18 (AT) Student, No Teacher": "at_no_teacher",
        "ResNet18 Student, ResNet18 (AT) Teacher": "student_of_at_teacher",
        "ResNet18 (AT) Tf KD-reg": "at_tf_kd_reg",
        "ResNet18 (AT) Tf KD-self": "at_tf_kd_self",
    }
    found = [Line(row, students[students["case"].eq(case)]) for row, case in cases.items()]
    what = (
        f"Test accuracy, clean and under {attack}, of networks that are trained adversarially "
        "(AT) or taught by one that was"
    )
    columns = [Column("Clean Accuracy", "Clean, %"), Column("AutoAttack Accuracy", "Attacked, %")]
    title = "adversarially trained teacher-free distillation"
    return published_table(
        "Table 5", PRINTED, columns, found, title=title, what=what, source=f"{CIFAR} and AutoAttack"
    )


def figure_1(_: Snapshot) -> Figure:
    """Figure 1: the virtual teacher by temperature."""
    temperatures = np.arange(1, 41)
    answers = np.stack(
        [virtual_teacher(0.9, 10, float(temperature)) for temperature in temperatures]
    )
    curves = pd.DataFrame(
        {
            "temperature": np.tile(temperatures, 2),
            "probability": np.concatenate([answers[:, 0], answers[:, 1]]),
            "class": np.repeat(["right class", "each other class"], len(temperatures)),
        }
    )
    figure, (axes,) = panels()
    axes.set_xticks([1, 10, 20, 30, 40])
    lines(
        axes,
        curves,
        "temperature",
        "probability",
        by="class",
        percent=False,
        band=True,
        markers=False,
    )
    axes.set_ylim(0, None)
    labelled(axes, "Temperature", "Probability")
    legend(figure)
    told = (
        "What the virtual teacher says of the right class and of each of the nine others, "
        "softmax(v/T) of v with 0.9 for the "
        f"right class and 0.1/9 for each other, by temperature: {answers[0, 0]:.3f} at T = "
        f"1, {answers[19, 0]:.3f} at T = 20, "
        "never the 0.9 that it was designed with. A formula: no data set, no seeds. After "
        f"{PAPER}, figure 1."
    )
    return Figure("figure_1", "Figure 1: the virtual teacher by temperature", told, figure)


def figure_2(snapshot: Snapshot) -> Figure:
    """Figure 2: mean gradients of every layer."""
    students = snapshot.students("teacher-free")
    reg, best = _regularised(students)
    chosen = students[
        ~students["case"].eq("tf_kd_reg")
        | students["trial_id"].isin(reg.loc[reg[TEMPERATURE].eq(best), "trial_id"])
    ]
    of_one_point(chosen, ["case"], "Figure 2")
    rows = snapshot.robustness
    rows = rows[rows["metric"].eq("mean_gradient") & rows["trial_id"].isin(chosen["trial_id"])]
    rows = of_one_evaluation(rows)[["trial_id", "layer", "epoch", "value"]]
    gradients = only(
        chosen.merge(rows, on="trial_id"), "no gradients: training.gradients in the sweep's file"
    )
    shared, epochs = _shared_epochs(gradients)
    gradients = only(
        gradients[gradients["epoch"].isin(shared)], "no epoch of which all models have gradients"
    )
    models = {"baseline": "ResNet-18", "tf_kd_reg": f"{REG}\n(T = {best:g})", "tf_kd_self": SELF}
    means = (
        gradients.groupby(["layer", "case"], sort=False)["value"]
        .mean()
        .unstack()
        .reindex(columns=list(models))
    )
    means = means.loc[gradients["layer"].unique()].rename(
        columns=models, index=lambda layer: layer.removeprefix("body.")
    )
    ratios = means.div(means[models["baseline"]], axis=0).iloc[:, 1:]
    figure, (left, right) = panels(2, width=PAGE, height=0.6 + 0.19 * len(means))
    heat_map(left, 1e3 * means, label="", percent=False, digits=2, bar=False)
    heat_map(right, ratios, label="", percent=False, digits=2, bar=False)
    right.set_yticks(range(len(means)), [""] * len(means))
    labelled(left, "", "Layer, from the input on", "Mean |gradient| of the weights (10⁻³)")
    labelled(right, "", "", "As a multiple of the baseline's")
    what = (
        f"Mean magnitude of the gradient of each layer's weights, over all steps{epochs} "
        "and seeds of the training (left), "
        "and as a multiple of the baseline's (right), for ResNet-18 alone, with a virtual "
        "teacher and taught by its twin "
        "(sweep teacher-free); layers in their order, layer2 to layer4 are the stages"
    )
    told = caption(what, chosen, ["case"], source=f"{PAPER}, figure 2", band="")
    return Figure("figure_2", "Figure 2: mean gradients of every layer", told, figure)


def _shared_epochs(gradients: pd.DataFrame) -> tuple[list[int], str]:
    """The epochs that all models have, and what a caption says of them."""
    having = gradients.groupby("epoch")["trial_id"].nunique()
    shared = list(having.index[having.eq(gradients["trial_id"].nunique())])
    if len(shared) == len(having):
        return shared, ", epochs"
    return shared, f" of the {counted(len(shared), 'epoch')} that all of them have,"


def virtual_teacher(
    probability: float, classes: int, temperature: float
) -> npt.NDArray[np.float64]:
    """What it answers, the right class first: softmax of the designed vector over the
    temperature."""
    designed = np.full(classes, (1 - probability) / (classes - 1))
    designed[0] = probability
    powers = np.exp(designed / temperature)
    return np.asarray(powers / powers.sum())


def _regularised(students: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Students of a virtual teacher, and the temperature with the best mean accuracy on
    validation."""
    reg = students[students["case"].eq("tf_kd_reg")]
    reg = only(
        reg.astype({TEMPERATURE: float}),
        "no students of a virtual teacher in the sweep teacher-free",
    )
    of_one_point(reg, [TEMPERATURE], "Choosing the temperature")
    means = reg.groupby(TEMPERATURE)["val_accuracy"].mean()
    return reg, float(means.index.to_numpy()[means.to_numpy().argmax()])


DRAWS: tuple[Draw, ...] = (table_1, table_2, table_3, table_4, table_5, figure_1, figure_2)


def main(argv: Sequence[str] | None = None) -> int:
    return run(TITLE, DRAWS, argv)


if __name__ == "__main__":
    sys.exit(main())
