/** Ten shapes as signed distances: below 0 inside, in units of their radius. */

/** Signed distance of a point to a shape around the origin. */
export type Distance = (x: number, y: number) => number;

type Corner = readonly [x: number, y: number];

/** Names of the shapes, in the order of their numbers. */
export const shapeClasses: readonly string[] = [
  "disc",
  "ring",
  "square",
  "triangle",
  "cross",
  "star",
  "moon",
  "bar",
  "pair",
  "arrow",
];

/** The shapes, in the order of {@linkcode shapeClasses}. */
export const shapeDistances: readonly Distance[] = [
  disc(0, 0, 0.85),
  (x, y) => Math.abs(Math.hypot(x, y) - 0.72) - 0.22,
  polygon([[-0.78, -0.78], [0.78, -0.78], [0.78, 0.78], [-0.78, 0.78]]),
  polygon(regular(3, () => 1.1)),
  polygon(plus(0.27, 0.95)),
  polygon(regular(10, (i) => i % 2 === 0 ? 1.1 : 0.45)),
  (x, y) => Math.max(disc(0, 0, 0.95)(x, y), -disc(0.48, 0, 0.78)(x, y)),
  polygon([[-1.1, -0.25], [1.1, -0.25], [1.1, 0.25], [-1.1, 0.25]]),
  (x, y) => Math.min(disc(-0.6, 0, 0.4)(x, y), disc(0.6, 0, 0.4)(x, y)),
  polygon([
    [1.1, 0],
    [0.2, 0.8],
    [0.2, 0.28],
    [-0.95, 0.28],
    [-0.95, -0.28],
    [0.2, -0.28],
    [0.2, -0.8],
  ]),
];

function disc(centreX: number, centreY: number, radius: number): Distance {
  return (x, y) => Math.hypot(x - centreX, y - centreY) - radius;
}

function regular(count: number, radius: (i: number) => number): Corner[] {
  return Array.from({ length: count }, (_, i) => {
    const angle = 2 * Math.PI * i / count;
    return [radius(i) * Math.cos(angle), radius(i) * Math.sin(angle)];
  });
}

function plus(half: number, arm: number): Corner[] {
  const quarter: Corner[] = [[arm, half], [half, half], [half, arm]];
  return [0, 1, 2, 3].flatMap((turns) =>
    quarter.map((corner) => {
      let [x, y] = corner;
      for (let i = 0; i < turns; i++) [x, y] = [-y, x];
      return [x, y] as Corner;
    })
  );
}

// Distance to the nearest edge; inside where a ray crosses an odd number of edges
function polygon(corners: readonly Corner[]): Distance {
  return (x, y) => {
    let square = Infinity;
    let inside = false;
    for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
      const [ax, ay] = corners[j];
      const [bx, by] = corners[i];
      const [ex, ey, px, py] = [bx - ax, by - ay, x - ax, y - ay];
      const t = Math.min(Math.max((px * ex + py * ey) / (ex * ex + ey * ey), 0), 1);
      square = Math.min(square, (px - t * ex) ** 2 + (py - t * ey) ** 2);
      if (ay > y !== by > y && x < ax + ex * (y - ay) / ey) inside = !inside;
    }
    return inside ? -Math.sqrt(square) : Math.sqrt(square);
  };
}
