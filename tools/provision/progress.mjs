/** What a person is told while something takes time: one line for each step, with a spinner only on a terminal. */

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const FRAME_MS = 80;

/** Steps that run now, by label, and when they began. Several may run at one time, in one spinner line. */
const running = new Map();
let spinner;
let frame = 0;

/** A reason to stop that the person can mend: printed without a stack. */
export class SetupError extends Error {}

/**
 * Runs one step and says how it went. Progress goes to standard error, so that standard output stays for results.
 * @template T
 * @param {string} label
 * @param {() => T | Promise<T>} work its failure is passed on
 * @returns {Promise<T>}
 */
export async function step(label, work) {
  running.set(label, performance.now());
  if (process.stderr.isTTY) spinner ??= setInterval(draw, FRAME_MS);
  try {
    const result = await work();
    finish('✓', label);
    return result;
  } catch (error) {
    finish('✗', label);
    throw error;
  }
}

function draw() {
  const steps = [...running].map(([label, began]) => `${label} ${seconds(began)}`);
  process.stderr.write(`\r\x1b[2K${FRAMES[frame++ % FRAMES.length]} ${steps.join(' · ')}`);
}

function finish(mark, label) {
  process.stderr.write(`${spinner ? '\r\x1b[2K' : ''}${mark} ${label} ${seconds(running.get(label))}\n`);
  running.delete(label);
  if (running.size > 0) return;
  clearInterval(spinner);
  spinner = undefined;
}

function seconds(began) {
  return `${((performance.now() - began) / 1000).toFixed(1)} s`;
}
