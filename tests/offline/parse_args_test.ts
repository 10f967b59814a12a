import { assertEquals } from "@std/assert";
import { parseArgs } from "@std/cli/parse-args";

const flags = {
  string: ["epochs", "lr"],
  boolean: ["json", "color"],
  negatable: ["color"],
  alias: { epochs: "e" },
  default: { color: true, device: "auto" },
} as const;

Deno.test("parseArgs() keeps declared strings as text, by name and alias", () => {
  const args = parseArgs(["--epochs", "3", "--lr=-1e-3"], flags);
  assertEquals({ ...args }, {
    _: [],
    epochs: "3",
    e: "3",
    lr: "-1e-3",
    json: false,
    color: true,
    device: "auto",
  });
  assertEquals(parseArgs(["-e", "4"], flags).epochs, "4");
});

Deno.test("parseArgs() leaves absent strings undefined and absent booleans false", () => {
  const args = parseArgs([], flags);
  assertEquals([args.epochs, args.json], [undefined, false]);
});

Deno.test("parseArgs() gives a string without a value the empty text", () => {
  assertEquals(parseArgs(["--epochs"], flags).epochs, "");
  const args = parseArgs(["--epochs", "--json"], flags);
  assertEquals([args.epochs, args.json], ["", true]);
});

Deno.test("parseArgs() does not take the next argument as the value of a boolean", () => {
  const args = parseArgs(["--json", "file"], flags);
  assertEquals([args.json, args._], [true, ["file"]]);
  assertEquals(parseArgs(["--json", "false"], flags).json, false);
  assertEquals(parseArgs(["--json=false"], flags).json, false);
});

Deno.test("parseArgs() negates what is negatable", () => {
  assertEquals(parseArgs(["--no-color"], flags).color, false);
  assertEquals(parseArgs(["--no-json"], flags)["no-json"], true);
});

Deno.test("parseArgs() lets the last of repeated flags win", () => {
  assertEquals(parseArgs(["--epochs", "1", "--epochs", "2"], flags).epochs, "2");
});

Deno.test("parseArgs() turns undeclared numbers into numbers", () => {
  const args = parseArgs(["--n", "3", "--x=1e-3", "--name", "a1", "7", "b"]);
  assertEquals([args.n, args.x, args.name, args._], [3, 1e-3, "a1", [7, "b"]]);
});

Deno.test("parseArgs() takes what follows -- as it is", () => {
  assertEquals(parseArgs(["1", "--", "--epochs", "2"], flags)._, [1, "--epochs", "2"]);
});

Deno.test("parseArgs() asks unknown() about every undeclared argument", () => {
  const calls: unknown[] = [];
  const args = parseArgs(["--epochs", "3", "--epoch", "4", "--fast", "file", "-q"], {
    ...flags,
    unknown: (...call) => {
      calls.push(call);
      return false;
    },
  });
  assertEquals(calls, [["--epoch", "epoch", "4"], ["--fast", "fast", "file"], ["-q", "q", true]]);
  assertEquals([args.epochs, args._, "fast" in args], ["3", [], false]);
});

Deno.test("parseArgs() does not write to the prototype", () => {
  const args = parseArgs(["--__proto__", "x"]);
  assertEquals(Object.getPrototypeOf(args), Object.prototype);
  assertEquals(Object.hasOwn(args, "__proto__"), true);
});
