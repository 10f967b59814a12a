import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { DictStepOutput, tensor } from "../../core/mod.ts";
import { CalibrationError } from "../../metrics/mod.ts";
import { calibrationArtifact } from "../../track/mod.ts";
import { artifactOf, drawnArtifacts } from "../../track/report_artifacts.ts";
import { PagePictures, textsSection } from "../../track/report_files.ts";
import {
  calibrationErrors,
  calibrationSection,
  confusionSection,
  predictionsSection,
  secondsByPart,
} from "../../track/report_results.ts";
import { assertClose, reference } from "../util.ts";

const bytesOf = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const of = (path: string, value: unknown) => artifactOf(path, bytesOf(value));

Deno.test("confusion matrices are known by their kind, and bare ones by the file's name", () => {
  const kind = "confusionMatrix";
  const matrix = [[1, 2], [3, 4]];
  assertEquals(of("artifacts/a.json", { kind, matrix }), { kind, matrix });
  assertEquals(of("artifacts/confusion-test.json", matrix), { kind, matrix });
  assertEquals(of("artifacts/other.json", matrix), null);
  assertEquals(of("artifacts/a.json", { kind, matrix: [[1, 2]] }), null);
  assertEquals(of("artifacts/a.json", { kind, matrix, classNames: ["a"] }), { kind, matrix });
  const classNames = ["a", "b"];
  assertEquals(of("artifacts/a.json", { kind, matrix, classNames }), { kind, matrix, classNames });
  assertEquals(of("artifacts/confusion.json", null), null);
  assertEquals(artifactOf("confusion.json", new Uint8Array([0xff])), null);
});

Deno.test("other artifacts are known by their kind, and left out where a part has the wrong form", () => {
  const bin = { low: 0, high: 1, count: 2, confidence: 0.5, accuracy: null };
  const calibration = { kind: "calibration", bins: [bin] };
  assertEquals(of("a.json", calibration), calibration as never);
  for (const wrong of [{}, null, { ...bin, count: "2" }, { ...bin, accuracy: undefined }]) {
    assertEquals(of("a.json", { kind: "calibration", bins: [bin, wrong] }), null);
  }
  const sample = { prediction: 3, target: "3", confidence: 0.5, image: "a.png", text: "b" };
  const predictions = { kind: "predictions", samples: [sample, { prediction: "x" }] };
  assertEquals(of("a.json", predictions), predictions as never);
  for (const wrong of [{}, 3, { prediction: null }, { ...sample, image: 3 }, { target: "a" }]) {
    assertEquals(of("a.json", { kind: "predictions", samples: [sample, wrong] }), null);
  }
  assertEquals(of("a.json", { kind: "predictions", samples: [] }), null);
  assertEquals(of("a.json", { kind: "other" }), null);
});

Deno.test("any JSON is drawn or left out", () => {
  const kind = fc.constantFrom("confusionMatrix", "calibration", "predictions");
  const field = fc.constantFrom("matrix", "bins", "samples", "classNames");
  const value = fc.oneof(
    fc.jsonValue(),
    fc.tuple(kind, fc.dictionary(field, fc.jsonValue())).map(([kind, rest]) => ({ kind, ...rest })),
    fc.array(fc.array(fc.double(), { maxLength: 3 }), { maxLength: 3 })
      .map((matrix) => ({ kind: "confusionMatrix", matrix })),
    fc.array(fc.record({
      low: fc.double(),
      high: fc.double(),
      count: fc.double(),
      confidence: fc.double(),
      accuracy: fc.double(),
    })).map((bins) => ({ kind: "calibration", bins })),
  );
  fc.assert(
    fc.property(value, (value) => {
      const files = [{ path: "artifacts/confusion.json", bytes: 10 }];
      const found = drawnArtifacts(files, () => bytesOf(value));
      const pictures = new PagePictures(files, () => new Uint8Array());
      confusionSection(found) + calibrationSection(found) + predictionsSection(found, pictures);
    }),
    { numRuns: 300 },
  );
});

Deno.test("files that are too large, or lie elsewhere, are not read", () => {
  const files = [
    { path: "artifacts/a.json", bytes: 1_000_001 },
    { path: "checkpoints/index.json", bytes: 10 },
    { path: "artifacts/a.json.txt", bytes: 20_000_000 },
  ];
  const refuse = () => {
    throw new Error("read");
  };
  assertEquals(drawnArtifacts(files, refuse), []);
  assertEquals(textsSection(files.slice(2), refuse).includes("is not shown here: 20 MB"), true);
});

Deno.test("a text shows its end, whole letters only", () => {
  const text = "a".repeat(2) + "\u{1f600}".repeat(3000);
  const files = [{ path: "logs/notes.txt", bytes: 12_002 }];
  const page = textsSection(files, () => new TextEncoder().encode(text));
  assertEquals(page.match(/<pre>(.*)<\/pre>/u)![1], "\u{1f600}".repeat(3000));
  assertEquals(page.includes("its last 3000 letters"), true);
});

Deno.test("a calibration curve keeps the errors that the metric computes", async () => {
  const error = new CalibrationError({ bins: 8 });
  const rows = Array.from({ length: 40 }, (_, i) => [Math.sin(i), Math.cos(3 * i), i % 5 / 2]);
  const targets = rows.map((_, i) => i * 7 % 3);
  error.update(
    new DictStepOutput({
      predictions: tensor(rows, { device: reference }),
      targets: tensor(targets, { dtype: "i32", device: reference }),
    }),
  );
  const artifact = calibrationArtifact(await error.curve());
  assertEquals(artifact.bins.length, 8);
  const empty = artifact.bins.filter(({ count }) => count === 0);
  assertEquals(empty.map(({ confidence, accuracy }) => [confidence, accuracy]), [[null, null], [
    null,
    null,
  ]]);
  const read = of("a.json", artifact) as typeof artifact;
  const filled = read.bins.filter(({ count }) => count > 0) as never;
  const { expected, largest, count } = calibrationErrors(filled);
  const { ece, "ece/max": most } = await error.compute();
  assertClose([expected, largest, count], [ece, most, 40], { rel: 1e-12, abs: 0 });
});

Deno.test("seconds of parts are added up over all events of timing", () => {
  const event = (event: string, fields: Record<string, number | string>) => ({
    time: new Date(0),
    event,
    fields,
  });
  const events = [
    event("timing", { step: 1, engine: "trainer", loading: 2 }),
    event("epoch", { step: 9 }),
    event("timing", { step: 0.5, odd: -1, lost: "NaN" }),
  ];
  assertEquals([...secondsByPart(events)], [["step", 1.5], ["loading", 2]]);
});
