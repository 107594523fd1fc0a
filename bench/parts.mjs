// What the scripts here share: parts that run one after another, print figures, and have bounds.

/** Runs the parts, or the one that is named; ends the process with 1 if a figure is out of bounds. */
export async function runParts(parts, only) {
  const wrong = [];
  for (const part of only ? [parts[only]] : Object.values(parts)) {
    const cleanups = [];
    const t = { after: (work) => cleanups.push(work) };
    try {
      await part(t, (figure, fine) => {
        console.log(`${fine === false ? 'OUT OF BOUNDS ' : ''}${figure}`);
        if (fine === false) wrong.push(figure);
      });
    } finally {
      for (const work of cleanups.reverse()) await work();
    }
  }
  process.exit(wrong.length > 0 ? 1 : 0);
}

/** The `p`-th part of a hundred, of sorted numbers. */
export const percentile = (sorted, p) => sorted[Math.ceil((p / 100) * sorted.length) - 1] ?? Infinity;
