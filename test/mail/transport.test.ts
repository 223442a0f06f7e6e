import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const SCRIPT = `
  import { openSync, closeSync } from "node:fs";
  import { smtpTransport } from ${JSON.stringify(new URL("../../src/mail/transport.ts", import.meta.url).href)};
  const transport = smtpTransport("smtp://127.0.0.1:1");
  const from = { name: "", address: "a@example.com" };
  const mail = { from, to: "b@example.com", subject: "s", text: "t", html: "<p>t", headers: {} };
  const send = () => transport.send(mail).catch(({ reason }) => console.log(reason));
  const files = [];
  try { for (;;) files.push(openSync("/dev/null")); } catch {}
  await send();
  transport.close();
  for (const file of files) closeSync(file);
  await send();
  transport.close();`;

describe("the code that sends mail", () => {
  it("is loaded for the next mail where it could not be for the first", async () => {
    const command = 'ulimit -n 200 && exec "$0" --input-type=module --eval "$1"';
    const { stdout } = await promisify(execFile)("sh", ["-c", command, process.execPath, SCRIPT]);
    const [first, second] = stdout.trim().split("\n");
    assert.notEqual(first, "econnrefused");
    assert.equal(second, "econnrefused");
  });
});
