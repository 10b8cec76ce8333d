// Each bucket is 2 % wider than the one below, so a quantile is at most 2 % off; all of them fit into 8 KiB.
const GROWTH = Math.log(1.02);
const BUCKETS = 1024;
/** The lowest bound, in milliseconds. */
const LEAST = 0.01;

/** Quantiles of durations in constant memory. */
export class Latencies {
  #buckets = new Float64Array(BUCKETS);
  count = 0;
  /** The longest, in milliseconds. */
  max = 0;

  /** @param {number} ms */
  add(ms) {
    const bucket = Math.ceil(Math.log(Math.max(ms, LEAST) / LEAST) / GROWTH);
    this.#buckets[Math.min(bucket, BUCKETS - 1)] += 1;
    this.count += 1;
    this.max = Math.max(this.max, ms);
  }

  /**
   * The duration in milliseconds that this share of all did not exceed; `undefined` where there are none.
   *
   * @param {number} share from 0 to 1
   */
  quantile(share) {
    if (this.count === 0) return undefined;
    let left = Math.ceil(share * this.count);
    const bucket = this.#buckets.findIndex((count) => {
      left -= count;
      return left <= 0;
    });
    return Math.min(LEAST * Math.exp(bucket * GROWTH), this.max);
  }
}
