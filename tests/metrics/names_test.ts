/** What the compiler knows of the names of metrics must be what they are called at run time. */

import { assert, assertEquals } from "@std/assert";
import * as metrics from "../../metrics/mod.ts";
import type { Metric } from "../../metrics/mod.ts";

/** True where two types are one and the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true
  : false;

const checked = new Set<string>();

/** Compiles only where the names are those of the type, all and no other; compares them as well. */
function named<K extends string, const L extends readonly string[]>(
  metric: Metric<K>,
  keys: L,
  _same: Same<K, L[number]>,
): void {
  checked.add(metric.constructor.name);
  assertEquals([...metric.keys].sort() as string[], keys.toSorted());
}

const classes = { numClasses: 2 } as const;

Deno.test("types of metrics of labels know their names", () => {
  named(new metrics.MultiClassAccuracy(), ["accuracy"], true);
  named(new metrics.MultiClassAccuracy({ name: "top1", ignoreIndex: 0 }), ["top1"], true);
  named(new metrics.MultiClassAccuracy({ ignoreIndex: 0 }), ["accuracy"], true);
  named(new metrics.TopKAccuracy(), ["top5_accuracy"], true);
  named(new metrics.TopKAccuracy({ k: 3 }), ["top3_accuracy"], true);
  named(new metrics.TopKAccuracy({ k: 3, name: "top" }), ["top"], true);
  named(new metrics.BinaryAccuracy({ threshold: 0.4 }), ["accuracy"], true);
  named(new metrics.BinaryPrecision(), ["precision"], true);
  named(new metrics.BinaryRecall(), ["recall"], true);
  named(new metrics.BinaryF1(), ["f1", "f1/precision", "f1/recall"], true);
  named(new metrics.BinaryF1({ name: "spam" }), ["spam", "spam/precision", "spam/recall"], true);
  named(new metrics.MacroF1(classes), ["f1_macro"], true);
  named(new metrics.MultiClassPrecision(classes), ["precision_macro"], true);
  named(new metrics.MultiClassRecall({ ...classes, average: "micro" }), ["recall_micro"], true);
  named(new metrics.MultiClassF1({ ...classes, average: "weighted" }), ["f1_weighted"], true);
  named(new metrics.MultiClassF1({ ...classes, name: "f" }), ["f"], true);
  named(
    new metrics.ConfusionMatrix(classes),
    ["confusion/accuracy", "confusion/balanced_accuracy"],
    true,
  );
  named(
    new metrics.ClassificationReport({ ...classes, name: "r" }),
    ["r/accuracy", "r/precision", "r/recall", "r/f1"],
    true,
  );
});

Deno.test("types of the other metrics know their names", () => {
  named(new metrics.BinaryRocAuc(), ["auc"], true);
  named(new metrics.BinaryAveragePrecision({ bins: 9 }), ["average_precision"], true);
  named(new metrics.MultiClassRocAuc(classes), ["auc_macro"], true);
  named(
    new metrics.MultiClassAveragePrecision({ ...classes, average: "weighted" }),
    ["average_precision_weighted"],
    true,
  );
  named(new metrics.CalibrationError(), ["ece", "ece/max"], true);
  named(new metrics.BinaryCalibrationError({ name: "b" }), ["b", "b/max"], true);
  named(new metrics.TokenAccuracy(), ["token_accuracy"], true);
  named(new metrics.Perplexity({ classDim: 1 }), ["perplexity"], true);
  named(new metrics.MeanAbsoluteError(), ["mae"], true);
  named(new metrics.MeanSquaredError(), ["mse"], true);
  named(new metrics.RootMeanSquaredError(), ["rmse"], true);
  named(new metrics.R2Score(), ["r2"], true);
  named(new metrics.PearsonCorrelation(), ["pearson"], true);
  named(new metrics.SpearmanCorrelation({ maxSamples: 9 }), ["spearman"], true);
  named(new metrics.MeanLoss(), ["loss"], true);
  named(new metrics.MeanLoss({ field: "nll" }), ["loss"], true);
  named(new metrics.MeanLoss({ field: "nll", name: "nll" }), ["nll"], true);
  named(new metrics.RunningMean({ field: "lr" }), ["lr"], true);
  named(new metrics.WindowedMean({ field: "lr", name: "rate", window: 3 }), ["rate"], true);
});

Deno.test("types of collections know the names that they give", () => {
  const two = () => new metrics.MetricCollection([new metrics.MeanLoss(), new metrics.BinaryF1()]);
  named(two(), ["loss", "f1", "f1/precision", "f1/recall"], true);
  named(
    new metrics.MetricCollection([new metrics.MeanLoss({ name: "nll" }), two()], { prefix: "val" }),
    ["val/nll", "val/loss", "val/f1", "val/f1/precision", "val/f1/recall"],
    true,
  );
  named(
    new metrics.MetricCollection({
      nll: new metrics.MeanLoss(),
      spam: new metrics.BinaryF1({ name: "a/b" }),
      matrix: new metrics.ConfusionMatrix(classes),
    }, { prefix: "val" }),
    [
      ...["val/nll", "val/spam", "val/spam/precision", "val/spam/recall"] as const,
      ...["val/matrix/accuracy", "val/matrix/balanced_accuracy"] as const,
    ],
    true,
  );
});

Deno.test("names known only at run time are of type string, those of classes a pattern", () => {
  const name: string = "x";
  named(new metrics.MeanLoss({ name }), ["x" as string], true);
  named(new metrics.MetricCollection([new metrics.MeanLoss({ name })]), ["x" as string], true);
  const inner = new metrics.MetricCollection([new metrics.MeanLoss()]);
  named(new metrics.MetricCollection({ inner }), ["inner/loss" as string], true);
  const each = new metrics.MultiClassF1({ ...classes, average: "none" });
  named(each, ["f1/0", "f1/1"] as `f1/${string}`[], true);
  const areas = new metrics.MultiClassRocAuc({ ...classes, average: "none" });
  named(areas, ["auc/0", "auc/1"] as `auc/${string}`[], true);
  // @ts-expect-error the compiler compares: it is called "loss"
  named(new metrics.MeanLoss(), ["loss"] as string[], true);
});

Deno.test("every metric was checked", () => {
  const bases = new Set(["Calibration", "BinaryScore", "ClassScore", "BinaryArea", "ClassArea"]);
  const all = Object.entries(metrics).filter(([name, value]) =>
    typeof value === "function" && value.prototype instanceof metrics.DeviceMetric &&
    !bases.has(name) && name !== "MeanError"
  );
  assert(all.length >= 25);
  for (const [name] of all) assert(checked.has(name), name);
});
