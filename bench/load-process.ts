import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Answer, Order, Round } from "./load/main.ts";
import type { FlowName } from "./load/flows.ts";
import type { Site } from "./world.ts";

/** The load generator, seen from the process that gives it orders. */
export class LoadProcess {
  readonly #child: ChildProcess;
  readonly #gone: Promise<never>;

  constructor() {
    this.#child = fork(fileURLToPath(new URL("load/main.ts", import.meta.url)));
    this.#gone = once(this.#child, "exit").then(() => {
      throw new Error("the load generator has ended");
    });
    this.#gone.catch(() => undefined);
  }

  async meet(site: Site, slots: number): Promise<void> {
    await this.#order({ type: "meet", site, slots });
  }

  async prepare(
    site: Pick<Site, "name">,
    flow: FlowName | "mixed" | "flood",
    slots: number,
    operations: number,
  ): Promise<void> {
    await this.#order({ type: "prepare", site: site.name, flow, slots, operations });
  }

  async run(seconds: number): Promise<Round> {
    const answer = await this.#order({ type: "run", seconds });
    if (answer.type !== "ran") throw new Error("the load generator did not run");
    return answer;
  }

  stop(): void {
    this.#child.disconnect();
  }

  async #order(order: Order): Promise<Answer> {
    const answered = once(this.#child, "message") as Promise<[Answer]>;
    this.#child.send(order);
    const [answer] = await Promise.race([answered, this.#gone]);
    if (answer.type === "failed") throw new Error(answer.message);
    return answer;
  }
}
