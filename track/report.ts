/** A run as one page of HTML that can be mailed: nothing in it runs, nothing is loaded. */

import { denoFileOps } from "./file_ops.ts";
import { drawnArtifacts } from "./report_artifacts.ts";
import {
  filesOf,
  filesSection,
  imagesSection,
  PagePictures,
  readerOf,
  textsSection,
} from "./report_files.ts";
import { escapeText, page, tag } from "./report_html.ts";
import {
  calibrationSection,
  confusionSection,
  predictionsSection,
  timingSection,
} from "./report_results.ts";
import {
  alertsSection,
  configSection,
  curvesSection,
  environmentSection,
  eventsSection,
  metricsSection,
  segmentsSection,
  summarySection,
} from "./report_sections.ts";
import { readSeries } from "./report_series.ts";
import { readHead } from "./report_state.ts";
import { writeWhole } from "./writing.ts";

/** How to make a report. */
export interface ReportOptions {
  /** The present time, by which a silent run counts as crashed. @default {the clock's} */
  readonly now?: Date;
  /** Seconds after which the page of a run that still runs loads itself again. @default {never} */
  readonly refreshSeconds?: number;
}

/**
 * The report of a run, also of one that still runs: state, alerts, last and best values, curves of
 * training and evaluation on the same axes with a mark at each restart, learning rate and gradients,
 * confusion matrices (`ConfusionArtifact`), reliability diagrams (`CalibrationArtifact`), sample
 * predictions (`PredictionsArtifact`), pictures and texts, where the time went (the event "timing",
 * seconds by name), settings, machine, events, and links to the files.
 *
 * The page is one file without scripts, light or dark as the reader's system is. Pictures of more
 * than 1 MB, and those beyond 8 MB in all, are links. For a run that has ended it depends on nothing
 * but the files.
 *
 * @param dir the folder of the run
 * @param options the time, and whether the page loads itself again
 * @returns the text of the page
 * @throws {TrackError} if a file cannot be read
 * @throws {SyntaxError} if a file is not as the tracker writes it
 *
 * @example
 * ```ts
 * import { reportHtml, run } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * const folder = await run({ dir, name: "a < b", config: { lr: 0.1 } }, (session) => {
 *   session.logScalars({ loss: 0.5 }, { step: 1, split: "train" });
 *   return session.dir;
 * });
 * assert(reportHtml(folder).includes("<h1>a &lt; b</h1>"));
 * ```
 */
export function reportHtml(dir: string, options: ReportOptions = {}): string {
  const { now = new Date(), refreshSeconds = 0 } = options;
  const head = readHead(dir, now);
  const scalars = readSeries(dir);
  const files = filesOf(dir);
  const title = head.meta.name ?? head.meta.id;
  const read = readerOf(dir);
  const artifacts = drawnArtifacts(files, read);
  const pictures = new PagePictures(files, read);
  return page(
    { title, refreshSeconds: head.state === "running" ? refreshSeconds : 0 },
    tag("h1", {}, escapeText(title)) + "\n",
    summarySection(head, scalars),
    alertsSection(head),
    metricsSection(head, scalars),
    curvesSection(head, scalars),
    confusionSection(artifacts),
    calibrationSection(artifacts),
    predictionsSection(artifacts, pictures),
    imagesSection(pictures, artifacts),
    textsSection(files, read),
    timingSection(head.events),
    segmentsSection(head, scalars),
    configSection(head),
    environmentSection(head),
    eventsSection(head),
    filesSection(files),
  );
}

/**
 * Writes the report of a run into its folder, as `report.html`, in place of one that is there.
 *
 * @param dir the folder of the run
 * @param options the time
 * @returns the path of the file
 * @throws {TrackError} if a file cannot be read, or the report not be written
 * @throws {SyntaxError} if a file is not as the tracker writes it
 *
 * @example A report when the run has ended
 * ```ts
 * import { run, writeReport } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * const session = await run({ dir });
 * session.logScalars({ loss: 0.5 }, { step: 1 });
 * await session.close();
 * const path = writeReport(session.dir);
 * assert((await Deno.readTextFile(path)).startsWith("<!DOCTYPE html>"));
 * ```
 */
export function writeReport(dir: string, options: ReportOptions = {}): string {
  const path = `${dir}/report.html`;
  writeWhole(denoFileOps, path, new TextEncoder().encode(reportHtml(dir, options)));
  return path;
}
