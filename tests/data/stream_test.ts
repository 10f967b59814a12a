import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { referenceDevice } from "../../core/mod.ts";
import {
  CsvError,
  csvItems,
  csvRows,
  StreamLoader,
  type StreamLoaderOptions,
  type StreamSource,
  TextError,
  textLines,
} from "../../data/mod.ts";
import { survives } from "./files.ts";
import { canUseFiles, temporaryFolder } from "./permissions.ts";

const ignore = !canUseFiles;

function collate(items: readonly number[]): () => number[] {
  const kept = [...items];
  return () => kept;
}

/** Numbers that differ by epoch; counts how many were read and whether the stream was closed. */
function numbers(count: number): StreamSource<number> & { read: number; closed: number } {
  const source = async function* (epoch: number) {
    try {
      for (let i = 0; i < count; i++) {
        if (i % 7 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
        source.read++;
        yield 1000 * epoch + i;
      }
    } finally {
      source.closed++;
    }
  };
  source.read = 0;
  source.closed = 0;
  return source;
}

async function rest(loader: StreamLoader<number, number[]>): Promise<number[][]> {
  const batches: number[][] = [];
  for await (const batch of loader) batches.push(batch);
  return batches;
}

Deno.test("a StreamLoader without a buffer keeps the order of the stream", async () => {
  const loader = new StreamLoader(numbers(10), { batchSize: 4, collate });
  assertEquals(await rest(loader), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]);
  assertEquals([loader.state().epoch, loader.state().position], [1, 0]);
  assertEquals((await rest(loader))[0], [1000, 1001, 1002, 1003]);
  const dropping = new StreamLoader(numbers(10), { batchSize: 4, dropLast: true, collate });
  assertEquals((await rest(dropping)).length, 2);
  assertEquals(await rest(new StreamLoader(numbers(0), { collate })), []);
});

Deno.test("continuing from any state gives the same remaining batches, across epochs", async () => {
  const options = fc.record({
    batchSize: fc.integer({ min: 1, max: 5 }),
    shuffleBuffer: fc.nat(12),
    seed: fc.nat(1000),
    dropLast: fc.boolean(),
    prefetch: fc.nat(3),
  });
  await fc.assert(
    fc.asyncProperty(fc.nat(25), options, fc.nat(99), async (count, options, share) => {
      const make = () => new StreamLoader(numbers(count), { ...options, collate });
      const loader = make();
      const batches: number[][] = [];
      const states = [loader.state()];
      for (let epoch = 0; epoch < 3; epoch++) {
        for await (const batch of loader) {
          batches.push(batch);
          states.push(loader.state());
        }
      }
      const at = Math.floor(share * states.length / 100);
      const other = make();
      other.load(JSON.parse(JSON.stringify(states[at])));
      const remaining: number[][] = [];
      while (other.state().epoch < 3) remaining.push(...await rest(other));
      assertEquals(remaining, batches.slice(at));
      // Every item of the epoch once, as far as batches are full
      const first = batches.filter((batch) => batch[0] < 1000).flat().sort((a, b) => a - b);
      if (!options.dropLast) assertEquals(first, Array.from({ length: count }, (_, i) => i));
      assertEquals(new Set(first).size, first.length);
    }),
    { numRuns: 120, seed: 6 },
  );
});

Deno.test("the shuffle buffer moves items, otherwise in each epoch, and no further than it is long", async () => {
  const make = (seed: number) =>
    new StreamLoader(numbers(500), { batchSize: 50, shuffleBuffer: 40, seed, collate });
  const loader = make(1);
  const first = (await rest(loader)).flat();
  const second = (await rest(loader)).flat().map((value) => value - 1000);
  const other = (await rest(make(2))).flat();
  assert(first.filter((value, i) => value !== i).length > 450);
  assert(first.filter((value, i) => value === second[i]).length < 50);
  assert(first.filter((value, i) => value === other[i]).length < 50);
  first.forEach((value, i) => assert(value <= i + 40, `${value} at ${i}`));
  const late = first.filter((value, i) => i - value > 40).length;
  assert(late > 50); // with chances of 1 in 40, more than a third stay longer than the buffer
  assertEquals((await rest(make(1))).flat(), first);
});

Deno.test("an iteration that is left early starts the epoch again and closes the stream", async () => {
  const source = numbers(100);
  const loader = new StreamLoader(source, { batchSize: 10, prefetch: 1, collate });
  for await (const batch of loader) {
    if (batch[0] === 20) break;
  }
  assertEquals([loader.state().epoch, loader.state().position, source.closed], [0, 3, 1]);
  assert(source.read <= 60, `${source.read}`);
  assertEquals((await rest(loader))[0][0], 0);
  loader.setEpoch(5);
  assertEquals((await rest(loader))[0][0], 5000);
  // Left after the last batch, the epoch is complete
  for await (const batch of loader) {
    if (batch[0] === 6090) break;
  }
  assertEquals(loader.state().epoch, 7);
});

Deno.test("a StreamLoader reads ahead as many batches as it was told", async () => {
  for (const prefetch of [0, 3]) {
    const source = numbers(100);
    const loader = new StreamLoader(source, { batchSize: 10, prefetch, collate });
    const iterator = loader[Symbol.asyncIterator]();
    await iterator.next();
    await new Promise((resolve) => setTimeout(resolve, 100));
    assertEquals(source.read, 10 * (1 + prefetch));
    await iterator.return!();
  }
});

Deno.test("errors of the stream and of collate reach the program when their batch is due", async () => {
  const broken: StreamSource<number> = async function* () {
    for (let i = 0; i < 5; i++) yield i;
    await Promise.resolve();
    throw new Error("no more");
  };
  const seen: number[][] = [];
  const loader = new StreamLoader(broken, { batchSize: 2, prefetch: 5, collate });
  await assertRejects(
    async () => {
      for await (const batch of loader) seen.push(batch);
    },
    Error,
    "no more",
  );
  assertEquals([seen, loader.state().epoch], [[[0, 1], [2, 3]], 0]);
  // Who leaves before has not asked for it
  for await (const batch of loader) {
    if (batch[0] === 2) break;
  }
  assertEquals(loader.state(), { epoch: 0, position: 2, seed: 0, batchSize: 2, shuffleBuffer: 0 });
});

Deno.test("StreamLoader checks options and states", async () => {
  const wrong: [StreamLoaderOptions<number, number[]>, string][] = [
    [{ batchSize: 0 }, "batchSize"],
    [{ shuffleBuffer: -1 }, "shuffleBuffer"],
    [{ seed: 0.5 }, "seed"],
    [{ prefetch: -1 }, "prefetch"],
  ];
  for (const [options, name] of wrong) {
    assertThrows(() => new StreamLoader(numbers(1), { ...options, collate }), RangeError, name);
  }
  const loader = new StreamLoader(numbers(10), { batchSize: 4, seed: 1, collate });
  assertThrows(() => loader.load({ epoch: -1, position: 0 }), RangeError, "epoch");
  assertThrows(() => loader.load({ epoch: 0, position: 0, seed: 2 }), RangeError, "seed must be 1");
  assertThrows(
    () => loader.load({ epoch: 0, position: 0, shuffleBuffer: 9 }),
    RangeError,
    "shuffleBuffer must be 0: got 9",
  );
  loader.load({ epoch: 0, position: 4 });
  await assertRejects(
    () => rest(loader),
    RangeError,
    "Cannot continue epoch 0 at batch 4 as the stream ended after 3 batches",
  );
  const plain = new StreamLoader(numbers(3) as unknown as StreamSource<never>);
  await assertRejects(() => rest(plain as never), TypeError, "pass collate");
});

async function lines(source: StreamSource<string>, epoch = 0): Promise<string[]> {
  const found: string[] = [];
  for await (const line of source(epoch)) found.push(line);
  return found;
}

Deno.test({
  name: "textLines() reads lines over the borders of chunks, and files in the order of the epoch",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    const paths = [1, 2, 3, 4].map((i) => `${folder.path}/${i}.txt`);
    const long = "ü".repeat(100_000);
    await Deno.writeTextFile(paths[0], `\ufeffa\r\n\n${long}\nlast`);
    for (const i of [1, 2, 3]) await Deno.writeTextFile(paths[i], `${i}\n`);
    assertEquals(await lines(textLines(paths)), ["a", "", long, "last", "1", "2", "3"]);
    const shuffled = textLines(paths.slice(1), { shuffleFiles: true, seed: 1 });
    const orders = await Promise.all([0, 1, 2, 3, 4, 5].map((epoch) => lines(shuffled, epoch)));
    assert(new Set(orders.map((order) => order.join())).size > 1);
    orders.forEach((order) => assertEquals(order.toSorted(), ["1", "2", "3"]));
    assertEquals(await lines(shuffled, 3), orders[3]);
    const loader = new StreamLoader(textLines(paths.slice(1)), {
      batchSize: 2,
      collate: (items: readonly string[]) => {
        const kept = [...items];
        return () => kept;
      },
    });
    const batches: string[][] = [];
    for await (const batch of loader) batches.push(batch);
    assertEquals(batches, [["1", "2"], ["3"]]);
  },
});

Deno.test({
  name: "textLines() names file and line of what is wrong",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    const path = `${folder.path}/a.txt`;
    await Deno.writeFile(path, new Uint8Array([97, 10, 255, 10]));
    await assertRejects(() => lines(textLines([path])), TextError, `"${path}"`);
    await Deno.writeTextFile(path, "short\nmuch too long\n");
    const error = await assertRejects(
      () => lines(textLines([path], { lineLength: 8 })),
      TextError,
      "line 2 may have at most 8 characters",
    );
    assertEquals(error.line, 2);
    await assertRejects(() => lines(textLines([`${path}x`])), Deno.errors.NotFound, `${path}x`);
    assertThrows(() => textLines([]), RangeError, "there is no file");
    assertThrows(() => textLines([path], { lineLength: 0 }), RangeError, "lineLength");
    assertThrows(() => textLines([path], { seed: -1 }), RangeError, "seed");
  },
});

async function rows(source: StreamSource<Record<string, string>>) {
  const found: Record<string, string>[] = [];
  for await (const row of source(0)) found.push(row);
  return found;
}

Deno.test({
  name: "csvRows() reads quotes, line breaks in quotes, blank lines and other separators",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    const [one, two] = [`${folder.path}/1.csv`, `${folder.path}/2.csv`];
    await Deno.writeTextFile(one, '\ufeffa,b\r\n\r\n1,"x, ""y""\nz"\r\n2,\n');
    await Deno.writeTextFile(two, "b;a\n3;4");
    assertEquals(await rows(csvRows([one])), [{ a: "1", b: 'x, "y"\nz' }, { a: "2", b: "" }]);
    assertEquals(await rows(csvRows([two], { separator: ";" })), [{ a: "4", b: "3" }]);
    assertEquals(await rows(csvRows([two], { columns: ["all"] })), [{ all: "b;a" }, {
      all: "3;4",
    }]);
  },
});

Deno.test({
  name: "csvRows() names file and line of what is wrong",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    const path = `${folder.path}/a.csv`;
    const wrong: [string, number, string][] = [
      ["a,b\n1,2\n\n1\n", 4, "line 4 must have 2 fields: got 1"],
      ["a,b\n1,2,3\n", 2, "line 2 must have 2 fields: got 3"],
      ["a,a\n", 1, 'column names must differ: got "a" twice'],
      ['a,b\n1,"2\n3\n', 2, "the quote in the row on line 2 is not closed"],
      ['a,b\n1,x"2"\n', 2, "quotes are out of place in the row on line 2"],
      ["a,b\n1,aaaaaaaaaaaaaaaaaaaaaaaa\n", 2, "line 2 may have at most 20 characters"],
      ['a,b\n1,"\naaaaaaaaaa\naaaaaaaaaaa\n"\n', 2, "line 2 may have at most 20 characters"],
    ];
    for (const [text, line, reason] of wrong) {
      await Deno.writeTextFile(path, text);
      const error = await assertRejects(() => rows(csvRows([path], { lineLength: 20 })), CsvError);
      assertEquals(error.line, line, text);
      assert(error.message.includes(reason) && error.message.includes(path), error.message);
    }
    assertThrows(() => csvRows([path], { separator: '"' }), RangeError, "separator");
  },
});

const csv = "w,h,kind\n1,2,flat\n3,1.5,tall\n-2,2e1,flat\n";

Deno.test({
  name: "csvItems() makes labelled items for a StreamLoader without collate",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    const path = `${folder.path}/a.csv`;
    await Deno.writeTextFile(path, csv);
    const options = { target: "kind", classes: ["tall", "flat"], features: ["h", "w"] };
    const loader = new StreamLoader(csvItems([path], options), {
      batchSize: 3,
      device: referenceDevice(),
    });
    for await (const { inputs, targets } of loader) {
      assertEquals(await inputs.array(), [[2, 1], [1.5, 3], [20, -2]]);
      assertEquals(await targets.array(), [1, 0, 1]);
    }
    const wrong: [string, string][] = [
      [
        csv.replace("tall", "wide"),
        'column "kind" on line 3 must be one of tall, flat: got "wide"',
      ],
      [csv.replace("1.5", "1.5x"), 'column "h" on line 3 must be a finite number: got "1.5x"'],
      [csv.replace("1.5", "1e99"), "a finite number"],
      [csv.replace("kind", "type"), 'there is no column "kind": got w, h, type'],
    ];
    for (const [text, reason] of wrong) {
      await Deno.writeTextFile(path, text);
      const read = async () => {
        for await (const _ of csvItems([path], options)(0)); // reads all
      };
      await assertRejects(read, CsvError, reason);
    }
    assertThrows(() => csvItems([path], { ...options, features: [] }), RangeError, "features");
    assertThrows(
      () => csvItems([path], { ...options, classes: ["a", "a"] }),
      RangeError,
      "classes that differ",
    );
  },
});

Deno.test({
  name: "damaged CSV files give items or CsvErrors",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    const path = `${folder.path}/bad file`;
    const source = csvItems([path], { target: "kind", classes: ["tall", "flat"], features: ["w"] });
    await survives(new TextEncoder().encode(csv), async (bytes) => {
      await Deno.writeFile(path, bytes);
      for await (const _ of source(0)); // reads all
    }, CsvError);
  },
});
