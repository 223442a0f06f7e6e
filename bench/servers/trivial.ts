import { createServer } from "node:http";

/* A server that does nothing, to see how fast the load generator could be. */

const BODY = JSON.stringify({ keys: [{ kty: "EC", crv: "P-256", x: "x".repeat(43) }] });

const server = createServer((_request, response) => {
  const headers = { "Content-Type": "application/json", "Content-Length": BODY.length };
  response.writeHead(200, headers).end(BODY);
});
process.once("message", () => {
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    process.send?.(typeof address === "object" ? address?.port : undefined);
  });
});
process.on("disconnect", () => process.exit());
