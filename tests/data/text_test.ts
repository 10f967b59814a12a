import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { referenceDevice } from "../../core/mod.ts";
import {
  ByteVocabulary,
  CharVocabulary,
  DataLoader,
  readText,
  splitTokens,
  TextError,
  tokenCollate,
  TokenWindows,
  vocabularyFrom,
} from "../../data/mod.ts";
import { canUseFiles, temporaryFolder } from "./permissions.ts";

const texts = fc.string({ unit: "binary", minLength: 1, maxLength: 60 });

Deno.test("what a vocabulary encodes it decodes, also after a way through JSON", () => {
  fc.assert(
    fc.property(texts, (text) => {
      for (const vocabulary of [CharVocabulary.of(text), new ByteVocabulary()]) {
        const tokens = vocabulary.encode(text);
        assertEquals(vocabulary.decode(tokens), text);
        assert(tokens.every((token) => token >= 0 && token < vocabulary.size));
        const restored = vocabularyFrom(JSON.parse(JSON.stringify(vocabulary.state())));
        assertEquals(restored.encode(text), tokens);
      }
    }),
    { numRuns: 200, seed: 5 },
  );
});

Deno.test("characters are code points, sorted", () => {
  const vocabulary = CharVocabulary.of("b😀aä😀");
  assertEquals(vocabulary.characters, ["a", "b", "ä", "😀"]);
  assertEquals([...vocabulary.encode("😀b")], [3, 1]);
  assertEquals(new ByteVocabulary().decode([0xf0, 0x9f]), "\ufffd");
});

Deno.test("vocabularies name what they do not know", () => {
  const vocabulary = CharVocabulary.of("abc");
  assertThrows(
    () => vocabulary.encode("abxc"),
    RangeError,
    'the vocabulary has no "x": got it as character 2',
  );
  for (const token of [3, -1, 0.5, NaN]) {
    assertThrows(() => vocabulary.decode([0, token]), RangeError, `got ${token} at index 1`);
  }
  assertThrows(() => new ByteVocabulary().decode([256]), RangeError, "from 0 to 255: got 256");
  assertThrows(() => CharVocabulary.of(""), RangeError, "of no character");
  assertThrows(() => new CharVocabulary(["a", "a"]), RangeError, 'got "a" at index 1');
  assertThrows(() => new CharVocabulary(["ab"]), RangeError, 'got "ab" at index 0');
  assertThrows(() => vocabularyFrom({ kind: "words" } as never), TypeError, '{"kind":"words"}');
});

const tokens = Int32Array.from({ length: 23 }, (_, i) => 100 + i);

Deno.test("targets are the tokens one place after the inputs", () => {
  const windows = new TokenWindows(tokens, { length: 5 });
  assertEquals(windows.length, 4);
  const seen: number[] = [];
  for (let i = 0; i < windows.length; i++) {
    const { inputs, targets } = windows.get(i);
    assertEquals([...targets], Array.from(inputs, (token) => token + 1));
    seen.push(...targets);
  }
  assertEquals(seen, Array.from({ length: 20 }, (_, i) => 101 + i)); // each once
  assertThrows(() => windows.get(4), RangeError, "from 0 to 3");
});

Deno.test("windows may overlap, and the last one ends with the tokens", () => {
  const windows = new TokenWindows(tokens, { length: 5, stride: 1 });
  assertEquals([windows.length, windows.get(17).targets.at(-1)], [18, 122]);
  assertEquals(new TokenWindows(tokens, { length: 22 }).length, 1);
  const wide = new TokenWindows(tokens, { length: 3, stride: 9 });
  assertEquals([0, 1, 2].map((i) => wide.get(i).inputs[0]), [100, 109, 118]);
  assertEquals(wide.length, 3);
});

Deno.test("random windows are a function of seed and index, and reach every place", () => {
  const make = (seed: number, count: number) =>
    new TokenWindows(tokens, { length: 5, random: { count, seed } });
  const starts = (windows: TokenWindows) =>
    Array.from({ length: windows.length }, (_, i) => windows.get(i).inputs[0]);
  const first = starts(make(1, 600));
  assertEquals(starts(make(1, 900)).slice(0, 600), first);
  assert(starts(make(2, 600)).some((start, i) => start !== first[i]));
  for (let place = 100; place < 118; place++) {
    const times = first.filter((start) => start === place).length;
    assert(times > 10 && times < 65, `${place}: ${times}`); // 33 are expected
  }
  assertEquals(Math.max(...first), 117);
});

Deno.test("TokenWindows checks its options", () => {
  assertThrows(() => new TokenWindows(tokens, { length: 0 }), RangeError, "length must be");
  assertThrows(
    () => new TokenWindows(tokens, { length: 23 }),
    RangeError,
    "the number of tokens must be a whole number of at least 24: got 23",
  );
  assertThrows(() => new TokenWindows(tokens, { length: 2, stride: 0 }), RangeError, "stride");
  assertThrows(
    () => new TokenWindows(tokens, { length: 2, random: { count: 0 } }),
    RangeError,
    "random.count",
  );
  assertThrows(
    () => new TokenWindows(tokens, { length: 2, stride: 1, random: { count: 1 } }),
    TypeError,
    "only one of stride and random",
  );
});

Deno.test("a DataLoader makes batches of windows, and continues where it was", async () => {
  const windows = new TokenWindows(tokens, { length: 4, stride: 2 });
  const make = () =>
    new DataLoader(windows, {
      batchSize: 4,
      shuffle: true,
      seed: 3,
      collate: tokenCollate(),
      device: referenceDevice(),
    });
  const loader = make();
  const rows: number[][] = [];
  let state = loader.state();
  for await (const { inputs, targets, size } of loader) {
    assertEquals([inputs.dtype, inputs.shape, targets.shape], ["i32", [size, 4], [size, 4]]);
    const [x, y] = [await inputs.array() as number[][], await targets.array() as number[][]];
    assertEquals(y, x.map((row) => row.map((token) => token + 1)));
    rows.push(...x);
    if (rows.length === 4) state = loader.state();
  }
  assertEquals(rows.map((row) => row[0]).sort(), [
    100,
    102,
    104,
    106,
    108,
    110,
    112,
    114,
    116,
    118,
  ]);
  const other = make();
  other.load(JSON.parse(JSON.stringify(state)));
  const rest: number[][] = [];
  for await (const { inputs } of other) rest.push(...await inputs.array() as number[][]);
  assertEquals(rest, rows.slice(4));
});

Deno.test("splitTokens() splits by position", () => {
  const [train, validation] = splitTokens(tokens, 0.8);
  assertEquals([train.length, validation.length, validation[0]], [18, 5, 118]);
  for (const fraction of [0, 1, NaN]) {
    assertThrows(() => splitTokens(tokens, fraction), RangeError, `got ${fraction}`);
  }
});

Deno.test({
  name: "readText() reads UTF-8, and names files that are not",
  ignore: !canUseFiles,
  fn: async () => {
    await using folder = await temporaryFolder();
    const path = `${folder.path}/a.txt`;
    await Deno.writeTextFile(path, "\ufeffgrün\r\n");
    assertEquals(await readText(path), "grün\r\n");
    await assertRejects(
      () => readText(path, { maxBytes: 3 }),
      TextError,
      "at most 3 bytes: got 10",
    );
    await Deno.writeFile(path, new Uint8Array([97, 255]));
    await assertRejects(() => readText(path), TextError, `"${path}" as it is not valid UTF-8`);
    await assertRejects(() => readText(`${path}x`), Deno.errors.NotFound, `"${path}x"`);
  },
});
