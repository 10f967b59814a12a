import {
  assertAlmostEquals,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { CsvDataset, CsvError, Standardizer } from "../../data/mod.ts";
import { canUseFiles, temporaryFolder } from "./permissions.ts";

const flowers =
  "sepal,petal,kind\n5.1,1.4,setosa\n7,4.7,versicolor\n6.3,6,virginica\n4.9,1.5,setosa\n";

Deno.test("CsvDataset.fromText() reads features in order and numbers the classes", () => {
  const dataset = CsvDataset.fromText(flowers, { target: "kind" });
  assertEquals(dataset.featureNames, ["sepal", "petal"]);
  assertEquals(dataset.classes, ["setosa", "versicolor", "virginica"]);
  assertEquals(dataset.labels, new Int32Array([0, 1, 2, 0]));
  assertEquals(dataset.features, new Float32Array([5.1, 1.4, 7, 4.7, 6.3, 6, 4.9, 1.5]));
  assertEquals(dataset.get(1), {
    input: new Float32Array([7, 4.7]),
    shape: [2],
    label: 1,
    classCount: 3,
  });
  assertEquals([dataset.length, dataset.count, dataset.name], [4, 4, "csv"]);
});

Deno.test("CsvDataset.fromText() takes chosen features in the order given", () => {
  const dataset = CsvDataset.fromText(flowers, { target: "kind", features: ["petal", "sepal"] });
  assertEquals(dataset.get(0).input, new Float32Array([1.4, 5.1]));
  const one = CsvDataset.fromText(flowers, { target: "kind", features: ["petal"] });
  assertEquals([one.shape, one.get(3).input], [[1], new Float32Array([1.5])]);
});

Deno.test("CsvDataset.fromText() takes the classes of another data set", () => {
  const classes = ["virginica", "setosa", "versicolor", "other"];
  const dataset = CsvDataset.fromText(flowers, { target: "kind", classes });
  assertEquals([[...dataset.labels], dataset.classes], [[1, 2, 0, 1], classes]);
});

Deno.test("CsvDataset.fromText() sorts whole numbers by value, other labels by text", () => {
  const numbers = CsvDataset.fromText("x,y\n0,10\n0,9\n0,-1\n0,10\n", { target: "y" });
  assertEquals([numbers.classes, [...numbers.labels]], [["-1", "9", "10"], [2, 1, 0, 2]]);
  const texts = CsvDataset.fromText("x,y\n0,10\n0,9\n0,b\n", { target: "y" });
  assertEquals(texts.classes, ["10", "9", "b"]);
});

Deno.test("CsvDataset.fromText() names columns of text without a header", () => {
  const columns = ["a", "b", "y"];
  const dataset = CsvDataset.fromText("1,2,0\n3,4,1\n", { target: "y", columns });
  assertEquals([dataset.featureNames, dataset.count], [["a", "b"], 2]);
});

Deno.test("CsvDataset.fromText() reads quotes, CRLF, blank lines, spaces, and a BOM", () => {
  const text = '\ufeff"a,1",y\r\n\r\n" 2.5 ","in\r\nside"\r\n-1e3 , b \r\n';
  const dataset = CsvDataset.fromText(text, { target: "y" });
  assertEquals(dataset.featureNames, ["a,1"]);
  assertEquals(dataset.features, new Float32Array([2.5, -1000]));
  assertEquals(dataset.classes, ["b", "in\nside"]);
});

Deno.test("CsvDataset.fromText() takes another separator", () => {
  const dataset = CsvDataset.fromText("a;y\n1;x\n", { target: "y", separator: ";" });
  assertEquals(dataset.get(0).input, new Float32Array([1]));
  for (const separator of ["", ",,", '"', "\n"]) {
    assertThrows(
      () => CsvDataset.fromText("a", { target: "a", separator }),
      RangeError,
      "separator",
    );
  }
});

const long = "x".repeat(60);

const rejected: [why: string, text: string, line: number, part: string][] = [
  ["a short row", "a,b,y\n1,2,0\n1,0\n", 3, "line 3 must have 3 fields: got 2"],
  ["a long row", "a,b,y\n1,2,0,4\n", 2, "line 2 must have 3 fields: got 4"],
  ["a ragged row after blank lines", "a,y\n\n1,0\n\n\n2\n", 6, "line 6 must have 2 fields: got 1"],
  ["a ragged row after a BOM", "\ufeff\n\r\na,y\n2\n\r", 4, "line 4 must have 2 fields: got 1"],
  ["a ragged row after line breaks in quotes", 'a,y\n1,"b\nc\nd"\n2\n', 5, "line 5 must"],
  ["text where a number is due", "a,y\n1,0\nhot,1\n", 3, 'column "a" on line 3 must be a finite'],
  ["nothing where a number is due", "a,y\n,0\n", 2, 'finite number: got ""'],
  ["a hexadecimal number", "a,y\n0x10,0\n", 2, 'got "0x10"'],
  ["NaN", "a,y\nNaN,0\n", 2, 'got "NaN"'],
  ["infinity", "a,y\nInfinity,0\n", 2, 'got "Infinity"'],
  ["a number beyond f32", "a,y\n1e39,0\n", 2, 'got "1e39"'],
  ["a decimal comma", 'a,y\n"1,5",0\n', 2, 'got "1,5"'],
  ["long text", `a,y\n${long},0\n`, 2, `got "${"x".repeat(40)}…"`],
  ["no label", "a,y\n1,\n", 2, 'column "y" on line 2 must be a class: got ""'],
  ["an open quote", 'a,y\n1,"b\n', 0, 'missing " in quoted-field'],
  ["a bare quote", 'a,y\n1,b"c\n', 2, "line 2, column 4"],
  ["no text", "", 0, "no header line"],
  ["no row", "a,y\n", 0, "no row of data"],
  ["a NUL", "a,y\n1,0\n1\0,0\n", 3, "NUL character on line 3"],
];

for (const [why, text, line, part] of rejected) {
  Deno.test(`CsvDataset.fromText() rejects ${why}`, () => {
    const error = assertThrows(() => CsvDataset.fromText(text, { target: "y" }), CsvError, part);
    assertInstanceOf(error, SyntaxError);
    if (line > 0) assertEquals(error.line, line);
    assertStringIncludes(error.message, 'Cannot read CSV "csv"');
  });
}

Deno.test("CsvDataset.fromText() rejects a label that is not one of the classes", () => {
  const options = { target: "kind", classes: ["setosa", "versicolor"] };
  const error = assertThrows(() => CsvDataset.fromText(flowers, options), CsvError);
  assertEquals(
    error.message,
    'Cannot read CSV "csv" as column "kind" on line 4 must be one of setosa, versicolor: ' +
      'got "virginica"',
  );
});

Deno.test("CsvDataset.fromText() rejects columns that are missing or used twice", () => {
  const wrong: [Parameters<typeof CsvDataset.fromText>[1], string][] = [
    [{ target: "type" }, 'there is no column "type": got "sepal", "petal", "kind"'],
    [{ target: "kind", features: ["width"] }, 'there is no column "width"'],
    [{ target: "kind", features: ["kind"] }, "as target and feature"],
    [{ target: "kind", features: ["petal", "petal"] }, '"petal" must be used once: got it twice'],
    [{ target: "kind", features: [] }, "no feature column"],
    [{ target: "kind", classes: ["a", "a"] }, "classes must differ"],
  ];
  for (const [options, part] of wrong) {
    assertThrows(() => CsvDataset.fromText(flowers, options), RangeError, part);
  }
  assertThrows(
    () => CsvDataset.fromText("a,a,y\n1,2,0\n", { target: "y" }),
    RangeError,
    '"a" twice',
  );
});

Deno.test("CsvDataset.fromText() obeys its limits", () => {
  const text = `a,y\n1,0\n${"2".repeat(20)},0\n`;
  const target = "y";
  assertThrows(
    () => CsvDataset.fromText(text, { target, limits: { fieldLength: 19 } }),
    CsvError,
    "the row on line 3 may have at most 19 characters in a field: got 20",
  );
  assertThrows(
    () => CsvDataset.fromText(text, { target, limits: { rowLength: 21 } }),
    CsvError,
    "the row on line 3 may have at most 21 characters: got 22",
  );
  assertThrows(
    () => CsvDataset.fromText(text, { target, limits: { columns: 1 } }),
    CsvError,
    "the row on line 1 may have at most 1 fields: got more",
  );
  CsvDataset.fromText(text, { target, limits: { fieldLength: 20, rowLength: 22, columns: 2 } });
});

Deno.test("CsvDataset.fromText() reads back what numbers print as", () => {
  const finite = fc.float({ noNaN: true, noDefaultInfinity: true });
  fc.assert(
    fc.property(fc.array(fc.tuple(finite, finite, fc.nat(3)), { minLength: 1 }), (rows) => {
      const text = "a,b,y\n" + rows.map((row) => row.join(",")).join("\n");
      const { features } = CsvDataset.fromText(text, { target: "y" });
      assertEquals(features, Float32Array.from(rows.flatMap(([a, b]) => [a, b])));
    }),
    { seed: 11, numRuns: 300 },
  );
});

Deno.test("CsvDataset.fromText() gives a data set or one of its errors for any text", () => {
  const piece = fc.constantFrom(
    ",",
    '"',
    "\n",
    "\r\n",
    "1",
    "-2.5",
    "a",
    "y",
    " ",
    "\0",
    "\r",
    "\ufeff",
    "é",
    '""',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      try {
        const dataset = CsvDataset.fromText(`a,y\n${pieces.join("")}`, { target: "y" });
        assertEquals(dataset.features.every(Number.isFinite), true);
      } catch (error) {
        assertInstanceOf(error, CsvError);
      }
    }),
    { seed: 12, numRuns: 3000 },
  );
});

Deno.test("standardize() brings each feature to mean 0 and deviation 1", () => {
  const dataset = CsvDataset.fromText("a,b,y\n1,7,0\n2,7,1\n6,7,0\n", { target: "y" });
  const standardized = dataset.standardize();
  // Of 1, 2, 6 the mean is 3 and the variance 14/3; b is constant
  const std = Math.sqrt(14 / 3);
  [-2 / std, 0, -1 / std, 0, 3 / std, 0].forEach((expected, i) =>
    assertAlmostEquals(standardized.features[i], expected, 1e-6)
  );
  assertEquals(standardized.labels, dataset.labels);
  assertEquals(dataset.features[0], 1);
});

Deno.test("standardize() applies another data set's standardizer, also from JSON", () => {
  const train = CsvDataset.fromText("a,y\n0,0\n4,1\n", { target: "y" }).standardize();
  const json = JSON.stringify(train.standardizer);
  const test = CsvDataset.fromText("a,y\n8,0\n", { target: "y" });
  const standardizer = new Standardizer(JSON.parse(json));
  assertEquals(test.standardize(standardizer).features, new Float32Array([3]));
  const wide = CsvDataset.fromText("a,b,y\n8,1,0\n", { target: "y" });
  assertThrows(
    () => wide.standardize(standardizer),
    RangeError,
    "2 features with a standardizer of 1",
  );
});

Deno.test({
  name: "CsvDataset.fromFile() reads a file, and names it in errors",
  ignore: !canUseFiles,
  fn: async () => {
    await using folder = await temporaryFolder();
    const path = `${folder.path}/flowers.csv`;
    await Deno.writeTextFile(path, flowers);
    const dataset = await CsvDataset.fromFile(path, { target: "kind" });
    assertEquals([dataset.count, dataset.name], [4, path]);
    await assertRejects(
      () => CsvDataset.fromFile(path, { target: "kind", maxBytes: 20 }),
      CsvError,
      `"${path}" as it may have at most 20 bytes: got ${flowers.length}`,
    );
    const none = `${folder.path}/none.csv`;
    const error = await assertRejects(
      () => CsvDataset.fromFile(none, { target: "kind" }),
      Deno.errors.NotFound,
    );
    assertEquals(error.message, `Cannot read "${none}" as there is no such file`);
  },
});

Deno.test({
  name: "CsvDataset.fromFile() names the line that is not UTF-8",
  ignore: !canUseFiles,
  fn: async () => {
    await using folder = await temporaryFolder();
    const path = `${folder.path}/latin1.csv`;
    await Deno.writeFile(path, new Uint8Array([97, 44, 121, 10, 49, 44, 0xe9, 10, 50, 44, 98]));
    const error = await assertRejects(() => CsvDataset.fromFile(path, { target: "y" }), CsvError);
    assertEquals([error.line, error.message], [
      2,
      `Cannot read CSV "${path}" as line 2 is not valid UTF-8`,
    ]);
  },
});
