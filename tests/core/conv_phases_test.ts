import { assertEquals } from "@std/assert";
import { phasesOf } from "../../core/tensor/conv_phases.ts";

Deno.test("phasesOf() finds for every pixel the taps and output pixels of the definition", () => {
  for (const [size, kernel] of [[1, 1], [7, 3], [9, 5], [10, 1], [4, 6]]) {
    for (const stride of [1, 2, 3, 4]) {
      for (const padding of [0, 1, 2]) {
        for (const dilation of [1, 2, 3]) {
          const got = new Map<number, string[]>();
          for (const phase of phasesOf(size, kernel, { stride, padding, dilation })) {
            for (let t = 0; t < phase.count; t++) {
              const pairs: string[] = [];
              for (let m = 0; m < phase.taps; m++) {
                // The last tap reads first, since the kernel is turned round.
                const tap = phase.tap + (phase.taps - 1 - m) * phase.tapStep;
                pairs.push(`${tap} of ${t + m * phase.dilation - phase.start}`);
              }
              got.set(phase.first + t * stride, pairs.sort());
            }
          }
          const want = new Map<number, string[]>();
          for (let i = 0; i < size; i++) {
            const pairs: string[] = [];
            for (let k = 0; k < kernel; k++) {
              const o = (i + padding - k * dilation) / stride;
              if (Number.isInteger(o)) pairs.push(`${k} of ${o}`);
            }
            want.set(i, pairs.sort());
          }
          const sorted = new Map([...got].sort((a, b) => a[0] - b[0]));
          assertEquals(sorted, want, `${[size, kernel, stride, padding, dilation]}`);
        }
      }
    }
  }
});
