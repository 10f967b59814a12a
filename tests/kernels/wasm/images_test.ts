import { avgPoolKernel, avgSpreadKernel } from "../../../kernels/avg_pool2d.ts";
import { directConvKernel } from "../../../kernels/conv2d_direct.ts";
import { gatherImagesKernel } from "../../../kernels/gather_images.ts";
import type { StridedOperand } from "../../../kernels/map.ts";
import { maxGatherKernel, maxPoolKernel, maxScatterKernel } from "../../../kernels/max_pool2d.ts";
import { padKernel } from "../../../kernels/pad.ts";
import { channelsLast, type WindowAxis } from "../../../kernels/pool2d.ts";
import { check, dense, integers, SAME, strided, values, valuesOf } from "./cases.ts";
import { referenceOf } from "./runner.ts";

const POOL = { rel: 1e-5, abs: 1e-5 };

function windows(
  size: number,
  kernel: number,
  stride: number,
  padding: number,
  dilation = 1,
): WindowAxis {
  const out = Math.floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1;
  return { kind: "window", size, out, kernel, stride, padding, dilation };
}

/** Heights and widths with small and large, padded and dilated windows. */
const axes: readonly (readonly [WindowAxis, WindowAxis])[] = [
  [windows(6, 2, 2, 0), windows(8, 2, 2, 0)],
  [windows(7, 3, 2, 1), windows(5, 2, 1, 0)],
  [windows(9, 5, 1, 2), windows(9, 5, 3, 1)],
  [windows(8, 3, 1, 1, 2), windows(7, 2, 2, 1, 3)],
];

/** Images of so many channels: dense, channels first, and with gaps. */
function layouts(channels: number, h: number, w: number): StridedOperand[] {
  return [
    strided(channelsLast(channels, h, w)),
    dense([2, channels, h, w]),
    strided([h * w * channels + 4, 1, w * channels, channels], 4),
  ];
}

Deno.test("maxima of windows with their places, and the maps along these", () => {
  for (const [h, w] of axes) {
    for (const channels of [1, 3, 4, 8]) {
      for (const x of layouts(channels, h.size, w.size)) {
        const shape = { batch: 2, channels, h, w };
        const data = values(2 * channels * h.size * w.size + 8, 1);
        data[5] = NaN;
        const count = 2 * channels * h.out * w.out;
        const kernel = maxPoolKernel(shape, x, true);
        check({ kernel, inputs: [data], outputs: [count, count], bounds: SAME });
        check({
          kernel: maxPoolKernel(shape, x, false),
          inputs: [data],
          outputs: [count],
          bounds: SAME,
        });
        const [, places] = referenceOf(kernel, {
          inputs: [data],
          outputs: [new Float64Array(count), new Float64Array(count)],
        });
        const g = strided(channelsLast(channels, h.out, w.out));
        const size = 2 * channels * h.size * w.size;
        check({
          kernel: maxScatterKernel(shape, g),
          inputs: [values(count, 2), places],
          outputs: [size],
          bounds: POOL,
        });
        check({
          kernel: maxGatherKernel(shape, x),
          inputs: [data, places],
          outputs: [count],
          bounds: SAME,
        });
      }
    }
  }
});

Deno.test("means of windows and of bins, and their transposes", () => {
  const bins = [{ kind: "bins", size: 7, out: 3 }, { kind: "bins", size: 5, out: 5 }] as const;
  for (const [h, w] of [...axes.slice(0, 3), bins]) {
    for (const channels of [1, 3, 4]) {
      for (const countPadding of [true, false]) {
        const shape = { batch: 2, channels, h, w, countPadding };
        for (const x of layouts(channels, h.size, w.size)) {
          const data = values(2 * channels * h.size * w.size + 8, 1);
          const kernel = avgPoolKernel(shape, x);
          check({ kernel, inputs: [data], outputs: [2 * channels * h.out * w.out], bounds: POOL });
        }
        for (const g of layouts(channels, h.out, w.out)) {
          const data = values(2 * channels * h.out * w.out + 8, 2);
          const kernel = avgSpreadKernel(shape, g);
          check({
            kernel,
            inputs: [data],
            outputs: [2 * channels * h.size * w.size],
            bounds: POOL,
          });
        }
      }
    }
  }
});

Deno.test("images are laid out among zeros, moved and spread", () => {
  for (const dtype of ["f32", "i32", "u32", "bool"] as const) {
    for (const channels of [1, 3, 4]) {
      for (
        const [start, step] of [[[1, 2], [1, 1]], [[-1, 0], [1, 2]], [[2, 1], [3, 2]]] as const
      ) {
        const kernel = padKernel({
          shape: [2, 9, 11, channels],
          size: [4, 5],
          start,
          step,
          image: dense([2, 4, 5, channels], dtype, 4),
        });
        const outputs = [2 * 9 * 11 * channels];
        check({ kernel, inputs: [valuesOf(dtype, 44 * channels + 4, 1)], outputs, bounds: SAME });
      }
    }
  }
});

Deno.test("grouped convolutions and both their gradients", () => {
  const forms = [
    { inChannels: 6, outChannels: 4, groups: 2, stride: [1, 2], padding: [1, 0], dilation: [1, 1] },
    { inChannels: 5, outChannels: 5, groups: 5, stride: [2, 1], padding: [0, 1], dilation: [2, 1] },
  ] as const;
  for (const form of forms) {
    const kernel = [3, 2] as const;
    const input = [8, 7] as const;
    const out = (d: 0 | 1) =>
      Math.floor(
        (input[d] + 2 * form.padding[d] - form.dilation[d] * (kernel[d] - 1) - 1) / form.stride[d],
      ) + 1;
    const output = [out(0), out(1)] as const;
    const p = { ...form, batch: 2, input, output, kernel };
    const x = values(2 * 56 * form.inChannels, 1);
    const w = values(6 * form.inChannels / form.groups * form.outChannels, 2);
    const g = values(2 * output[0] * output[1] * form.outChannels, 3);
    const bounds = { rel: 1e-5, abs: 1e-4 };
    check({ kernel: directConvKernel("output", p), inputs: [x, w], outputs: [g.length], bounds });
    check({ kernel: directConvKernel("input", p), inputs: [g, w], outputs: [x.length], bounds });
    check({
      kernel: directConvKernel("weight", p, 2),
      inputs: [x, g],
      outputs: [2 * w.length],
      bounds,
    });
  }
});

Deno.test("batches of images from bytes, gathered, moved and mirrored", () => {
  for (const shape of [[1, 6, 4], [3, 5, 3], [1, 28, 28]] as const) {
    const [channels, height, width] = shape;
    const words = Math.ceil(channels * height * width / 4);
    const images = integers(5 * words, 1, 0, 2 ** 32);
    const levels = values(256 * channels, 2);
    const samples = Float64Array.of(3, 0, 4, 7, 1, 2);
    for (const gathered of [true, false]) {
      for (const shifted of [true, false]) {
        const shift = shifted ? { draw: dense([4], "u32"), epoch: dense([1], "i32") } : null;
        const kernel = gatherImagesKernel({
          count: gathered ? 6 : 5,
          rows: 5,
          shape,
          images: dense([5, words], "u32"),
          levels: dense([channels, 256]),
          samples: gathered || shifted ? dense([6], "u32") : null,
          gathered,
          shift,
        });
        const draw = Float64Array.of(123456789, 987654321, 2 ** 23, 2);
        const inputs = [
          images,
          levels,
          ...(gathered || shifted ? [samples] : []),
          ...(shifted ? [draw, Float64Array.of(3)] : []),
        ];
        check({
          kernel,
          inputs,
          outputs: [(gathered ? 6 : 5) * channels * height * width],
          bounds: SAME,
        });
      }
    }
  }
});
