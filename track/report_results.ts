/** The parts of a report that tell how good a model is, and where the time went. */

import { barChart, heatmap, lineChart } from "./charts.ts";
import type { EventRow } from "./read.ts";
import type {
  CalibrationArtifact,
  CalibrationBin,
  ConfusionArtifact,
  DrawnArtifact,
  FoundArtifact,
  PredictionSample,
  PredictionsArtifact,
} from "./report_artifacts.ts";
import { link, type PagePictures } from "./report_files.ts";
import { type Cell, escapeText, type Markup, note, section, table, tag } from "./report_html.ts";
import { showValue } from "./report_state.ts";

const CLASSES = 64;
const SHOWN_SAMPLES = 200;
const SHOWN_PARTS = 30;
const WIDTH = 480;

function ofKind<K extends DrawnArtifact["kind"]>(
  artifacts: readonly FoundArtifact[],
  kind: K,
): FoundArtifact<Extract<DrawnArtifact, { kind: K }>>[] {
  return artifacts.filter((
    found,
  ): found is FoundArtifact<Extract<DrawnArtifact, { kind: K }>> => found.artifact.kind === kind);
}

const titleOf = (path: string) => path.slice(path.lastIndexOf("/") + 1).replace(/\.json$/i, "");

/** Confusion matrices among the artifacts. */
export function confusionSection(artifacts: readonly FoundArtifact[]): Markup {
  const parts = ofKind(artifacts, "confusionMatrix").map(confusionFigure);
  return parts.length === 0 ? "" : section("confusion", "Confusion", ...parts);
}

function confusionFigure(
  { path, artifact: { matrix, classNames } }: FoundArtifact<ConfusionArtifact>,
): Markup {
  if (matrix.length > CLASSES) {
    return tag("p", { class: "note" }, link(path), ` is not drawn here: ${matrix.length} classes`);
  }
  const svg = heatmap({
    title: titleOf(path),
    values: matrix,
    rowLabels: classNames,
    columnLabels: classNames,
    xLabel: "predicted",
    yLabel: "target",
    shade: "row",
  });
  return tag("figure", {}, svg, tag("figcaption", {}, link(path)));
}

/** Reliability diagrams: how far confidences agree with the shares of right predictions. */
export function calibrationSection(artifacts: readonly FoundArtifact[]): Markup {
  const parts = ofKind(artifacts, "calibration").map(calibrationFigure);
  return parts.length === 0 ? "" : section("calibration", "Calibration", ...parts);
}

function calibrationFigure({ path, artifact }: FoundArtifact<CalibrationArtifact>): Markup {
  const bins = artifact.bins.filter(isFilled);
  const { expected, largest, count } = calibrationErrors(bins);
  const svg = lineChart({
    series: [
      {
        name: "share of right predictions",
        x: bins.map((bin) => bin.confidence),
        y: bins.map((bin) => bin.accuracy),
      },
      { name: "perfect", x: [0, 1], y: [0, 1] },
    ],
    title: titleOf(path),
    xLabel: "confidence",
    width: WIDTH,
    height: 400,
    legend: "below",
  });
  const words = `, ${count} samples: expected calibration error ${brief(expected)}, ` +
    `largest ${brief(largest)}. Below the diagonal the model is too sure.`;
  const rows = bins.map(({ low, high, count, confidence, accuracy }) => [
    `${brief(low)} to ${brief(high)}`,
    String(count),
    ...[confidence, accuracy, accuracy - confidence].map(brief),
  ]);
  const headings = ["confidence", "samples", "mean confidence", "right", "difference"];
  const caption = tag("figcaption", {}, link(path), escapeText(words));
  return tag("figure", {}, svg, caption) + table(headings, rows, [1, 2, 3, 4]);
}

/** A number with at most four digits that count. */
function brief(value: number): string {
  return showValue(Number.isFinite(value) ? Number(value.toPrecision(4)) : value);
}

interface FilledBin extends CalibrationBin {
  confidence: number;
  accuracy: number;
}

function isFilled(bin: CalibrationBin): bin is FilledBin {
  return bin.count > 0 && bin.confidence !== null && bin.accuracy !== null;
}

/** Mean and largest distance of accuracy and confidence, as `CalibrationError` has them. */
export function calibrationErrors(
  bins: readonly FilledBin[],
): { readonly expected: number; readonly largest: number; readonly count: number } {
  const count = bins.reduce((sum, bin) => sum + bin.count, 0);
  const gaps = bins.map((bin) => Math.abs(bin.accuracy - bin.confidence));
  const expected = gaps.reduce((sum, gap, i) => sum + gap * (bins[i].count / count), 0);
  return { expected: count === 0 ? NaN : expected, largest: Math.max(...gaps, 0), count };
}

/** Samples with what the model said of them. */
export function predictionsSection(
  artifacts: readonly FoundArtifact[],
  pictures: PagePictures,
): Markup {
  const parts = ofKind(artifacts, "predictions").map((found) => predictionsTable(found, pictures));
  return parts.length === 0 ? "" : section("predictions", "Sample predictions", ...parts);
}

function predictionsTable(
  { path, artifact: { samples } }: FoundArtifact<PredictionsArtifact>,
  pictures: PagePictures,
): Markup {
  const rows = samples.slice(0, SHOWN_SAMPLES).map((sample): Cell[] => [
    inputOf(sample, pictures),
    sample.target === undefined ? "–" : String(sample.target),
    String(sample.prediction),
    sample.confidence === undefined ? "–" : showValue(sample.confidence),
    verdictOf(sample),
  ]);
  const more = samples.length - rows.length;
  const words = more > 0 ? `, the first ${rows.length} of ${samples.length}` : "";
  return tag("p", { class: "note" }, link(path), words) +
    table(["given", "target", "prediction", "confidence", ""], rows, [3]);
}

function inputOf({ image, text, prediction }: PredictionSample, pictures: PagePictures): Cell {
  const words = text === undefined ? "" : escapeText(text);
  if (image === undefined) return { markup: words === "" ? "–" : words };
  const shown = pictures.show(`artifacts/${image}`, `sample predicted as ${prediction}`);
  return { markup: (shown ?? escapeText(`${image} is not there`)) + words };
}

function verdictOf({ prediction, target }: PredictionSample): Cell {
  if (target === undefined) return "–";
  const right = String(prediction) === String(target);
  const kind = right ? "completed" : "alert";
  return { markup: tag("span", { class: kind }, right ? "right" : "wrong") };
}

/** Where the time went: the seconds of all events "timing", added up by name. */
export function timingSection(events: readonly EventRow[]): Markup {
  const seconds = secondsByPart(events);
  if (seconds.size === 0) return "";
  const total = [...seconds.values()].reduce((a, b) => a + b, 0);
  const parts = [...seconds].sort(([, a], [, b]) => b - a);
  const shown = parts.slice(0, SHOWN_PARTS);
  const svg = barChart({
    bars: shown.map(([label, value]) => ({ label, value })),
    title: "time by part",
    xLabel: "seconds",
    width: WIDTH,
  });
  const rows = parts.map(([name, value]) => [
    name,
    brief(value),
    total > 0 ? `${(100 * value / total).toFixed(1)} %` : "–",
  ]);
  const more = parts.length - shown.length;
  return section(
    "timing",
    "Time",
    tag("figure", {}, svg),
    ...more > 0 ? [note(`The ${more} shortest parts are not drawn.`)] : [],
    table(["part", "seconds", "share"], rows, [1, 2]),
  );
}

/** Seconds by name; fields that are no seconds are left out. */
export function secondsByPart(events: readonly EventRow[]): Map<string, number> {
  const seconds = new Map<string, number>();
  for (const { event, fields } of events) {
    if (event !== "timing") continue;
    for (const [name, value] of Object.entries(fields)) {
      if (typeof value !== "number" || !(value >= 0)) continue;
      seconds.set(name, (seconds.get(name) ?? 0) + value);
    }
  }
  return seconds;
}
