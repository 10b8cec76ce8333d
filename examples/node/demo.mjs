import { randomBytes } from 'node:crypto';
import { setInterval } from 'node:timers/promises';
import { KafkaEventBus } from '@repo-packages/i_event-bus';
import { OrderPlaced } from './domain/OrderPlaced.mjs';
import { OrderShipped } from './domain/OrderShipped.mjs';
import { PaymentReceived } from './domain/PaymentReceived.mjs';
import { forgetful } from './services/forgetful.mjs';
import { PaymentService } from './services/PaymentService.mjs';
import { ShippingService } from './services/ShippingService.mjs';
import { Shop } from './services/Shop.mjs';
import { Ledger } from './tracking/Ledger.mjs';
import { ObservedBus } from './tracking/ObservedBus.mjs';

/** @import { KafkaConfig } from '@repo-packages/i_event-bus' */
/** @import { Options } from './options.mjs' */

/** The event types in the order in which an order goes through them. */
export const TYPES = [OrderPlaced.TYPE, PaymentReceived.TYPE, OrderShipped.TYPE];

/**
 * Orders that may be on their way at once. The embedded broker keeps 5 MiB of a partition and drops what
 * is older, read or not: the shop must not get that far ahead of the slowest service.
 */
const MAX_OPEN_ORDERS = 1000;

/** How often the shop looks whether further orders are due. */
const TICK_MS = 10;

/** How long the groups may take until they have their partitions. */
const JOIN_TIMEOUT_MS = 30_000;

/** One run: three services with a bus each, orders that go through them, and the books about it. */
export class Demo {
  /** @type {'connecting' | 'joining' | 'running' | 'ended'} */
  phase = 'connecting';
  placed = 0;
  /** Orders that could not be published, and handlers that failed. */
  failures = 0;
  /** Publishes that were given up at the end. */
  lost = 0;
  /** @type {Ledger} */
  ledger;
  /** @type {number} */
  orders;
  #options;
  #log;
  #run = randomBytes(4).toString('hex');
  #buses;
  #observed;
  #shop;
  #startedAt = 0;
  #endedAt = 0;

  /**
   * @param {Omit<KafkaConfig, 'clientId'>} config where the brokers are
   * @param {Options} options
   * @param {(line: string) => void} log
   */
  constructor(config, options, log) {
    this.#options = options;
    this.#log = log;
    this.orders = options.orders;
    this.ledger = new Ledger(this.#run, TYPES);

    const buses = {
      shop: this.#makeBus('shop', config),
      payment: this.#makeBus('payment', config),
      shipping: this.#makeBus('shipping', config),
    };
    this.#buses = Object.values(buses);
    this.#observed = {
      shop: new ObservedBus(buses.shop, this.ledger),
      payment: new ObservedBus(buses.payment, this.ledger),
      shipping: new ObservedBus(buses.shipping, this.ledger),
    };
    this.#shop = new Shop(this.#observed.shop);
  }

  /**
   * @param {string} service
   * @param {Omit<KafkaConfig, 'clientId'>} config
   */
  #makeBus(service, config) {
    const warn = (/** @type {object} */ _fields, /** @type {string} */ message) =>
      this.#log(`${service}: ${message}`);
    return new KafkaEventBus({
      ...config,
      clientId: service,
      // Instances of a service share a group. Here each run has its own, and starts at the beginning.
      groupId: `${service}-${this.#run}`,
      logger: { debug() {}, info() {}, warn, error: warn },
      onError: () => {
        this.failures += 1;
      },
    });
  }

  /** Seconds since the first order, or how long it all took. */
  get seconds() {
    if (this.#startedAt === 0) return 0;
    return ((this.#endedAt || performance.now()) - this.#startedAt) / 1000;
  }

  get isConnected() {
    return this.#buses.every((bus) => bus.isConnected);
  }

  /** Whether every event of every order that was to be placed arrived, and nothing else went wrong. */
  get succeeded() {
    const { complete, open, contradictions } = this.ledger;
    return complete === this.orders && open === 0 && contradictions === 0 && this.lost === 0;
  }

  /**
   * Runs to the end, or until the signal.
   *
   * @param {AbortSignal} signal
   */
  async run(signal) {
    try {
      await this.#subscribe();
      await Promise.all(this.#buses.map((bus) => bus.connect({ signal })));
      this.phase = 'joining';
      await this.#join(signal);
      this.phase = 'running';
      this.#startedAt = performance.now();
      this.ledger.lastProgress = this.#startedAt;
      await this.#trade(signal);
      this.#endedAt = performance.now();
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      const reports = await Promise.all(this.#buses.map((bus) => bus.disconnect()));
      this.lost = reports.reduce((sum, report) => sum + report.lost, 0);
      this.phase = 'ended';
    }
  }

  async #subscribe() {
    const { shop, payment, shipping } = this.#observed;
    const shippingService = forgetful(new ShippingService(shipping), this.#options.lose);
    await payment.subscribe(OrderPlaced.TYPE, new PaymentService(payment));
    await shipping.subscribe(PaymentReceived.TYPE, shippingService);
    await shop.subscribe(OrderShipped.TYPE, this.#shop);
  }

  /**
   * Waits until every group has its partitions, so that this time is not in the latencies.
   *
   * @param {AbortSignal} signal
   */
  async #join(signal) {
    const deadline = performance.now() + JOIN_TIMEOUT_MS;
    for await (const _ of setInterval(TICK_MS, undefined, { signal })) {
      if (this.#buses.every((bus) => bus.metrics().consume.rebalances > 0)) return;
      if (performance.now() > deadline) {
        throw new Error(
          `the consumer groups got no partitions within ${JOIN_TIMEOUT_MS / 1000} s; are all brokers up?`,
        );
      }
    }
  }

  /**
   * Places the orders as they are due, and waits for the last of them.
   *
   * @param {AbortSignal} signal
   */
  async #trade(signal) {
    const { orders, seconds, patienceMs } = this.#options;
    for await (const _ of setInterval(TICK_MS, undefined, { signal })) {
      const due = seconds === 0 ? orders : Math.min(orders, (this.seconds / seconds) * orders);
      while (this.placed < due && this.ledger.open < MAX_OPEN_ORDERS) {
        this.placed += 1;
        this.#place(this.placed);
      }
      if (this.placed === orders && this.ledger.open === 0) return;
      // Between two orders of a slow run there may be a long time without anything.
      const waits = this.ledger.open > 0;
      if (waits && performance.now() - this.ledger.lastProgress > patienceMs) return;
    }
  }

  /** @param {number} number */
  #place(number) {
    this.#shop.placeOrder(`${this.#run}-${number}`, number).catch((error) => {
      this.failures += 1;
      this.#log(`shop: ${error.message}`);
    });
  }
}
