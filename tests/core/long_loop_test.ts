import { assertEquals } from "@std/assert";
import { linear, ones, tensor } from "../../core/mod.ts";
import { testOnDevices } from "../util.ts";

// Mesa's llvmpipe leaves the loops of a thread without a word after 65,535 turns.
testOnDevices({
  name: "sum() over 360,000 terms with many outputs gives all of them",
  fn: async (device) => {
    const x = ones([1, 4096, 3], { device }).expand([120_000, 4096, 3]);
    assertEquals(await x.sum([0, 2]).slice({ stop: 2 }).array(), [360_000, 360_000]);
  },
});

testOnDevices({
  name: "linear() over 300,000 inputs gives all of them, and the bias",
  fn: async (device) => {
    const x = ones([1, 1], { device }).expand([1, 300_000]);
    const y = linear(x, x, tensor([5], { device }));
    assertEquals(await y.array(), [[300_005]]);
  },
});
