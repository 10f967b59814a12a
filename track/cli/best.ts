/** `legoml runs best`. */

import { type Direction, directionIn } from "../report_series.ts";
import { flatConfig, showSetting, showValue } from "../report_state.ts";
import {
  type Command,
  dirFlag,
  type Input,
  jsonFlag,
  jsonText,
  type Output,
  textTable,
} from "./command.ts";
import { keySettings } from "./list.ts";
import { bestOf, checkMetric, type ListedRun, loadAll } from "./runs.ts";

const SHOWN = 10;

/** Orders the runs by a metric. */
export const best: Command = {
  usage: "",
  purpose: `Shows the ${SHOWN} best runs by a metric, the best first`,
  count: [0, 0],
  flags: {
    metric: { value: "NAME", help: "the metric, such as test/accuracy" },
    min: { value: "", help: "small values are good" },
    max: { value: "", help: "large values are good (else the runs or its name say which)" },
    dir: dirFlag,
    json: jsonFlag,
  },
  run(input: Input, { out, err }: Output): number {
    const dir = input.text("dir") ?? "runs";
    const metric = input.text("metric");
    if (metric === undefined) throw new TypeError("Cannot run best: expected --metric NAME");
    const { runs, broken } = loadAll(dir, { metric });
    checkMetric(runs, metric, dir);
    const direction = chosenDirection(input, runs, metric);
    const sign = direction === "min" ? 1 : -1;
    const ranked = runs.flatMap((run) => {
      const top = run.range === null ? null : bestOf(run.range, direction);
      return top === null ? [] : [{ run, top }];
    }).sort((a, b) => sign * (a.top.value - b.top.value)).slice(0, SHOWN);
    for (const { id, problem } of broken) err(`${id} cannot be read: ${problem}`);
    if (ranked.length === 0) throw new RangeError(`Cannot rank by ${metric}: no value is finite`);
    if (input.has("json")) {
      const rows = ranked.map(({ run: { id, dir, state, meta }, top }) => ({
        id,
        dir,
        state,
        ...top,
        config: meta.params,
      }));
      out(jsonText({ metric, direction, runs: rows }));
      return 0;
    }
    const settings = keySettings(ranked.map(({ run }) => run));
    const lines = ranked.map(({ run, top }) => {
      const config = flatConfig(run.meta.params);
      return [
        run.id,
        run.state,
        showValue(top.value),
        showValue(top.step),
        showValue(top.epoch),
        ...settings.map((name) => showSetting(config.get(name))),
      ];
    });
    const head = ["run", "state", metric, "at step", "at epoch", ...settings];
    out(textTable([head, ...lines], [2, 3, 4]));
    return 0;
  },
};

function chosenDirection(
  input: Input,
  runs: readonly ListedRun[],
  metric: string,
): Direction {
  if (input.has("min") && input.has("max")) {
    throw new TypeError("Cannot use --min and --max together: expected one of them");
  }
  const chosen = input.has("min") ? "min" : input.has("max") ? "max" : directionIn(runs, metric);
  if (chosen !== null) return chosen;
  throw new TypeError(`Cannot tell which values of ${metric} are good: expected --min or --max`);
}
