/** A network in CIDR notation of IPv4, and what the database says of it. */
type Network = readonly [network: string, content: Readonly<Record<string, unknown>>];

/**
 * Writes a database in MaxMind's format (MaxMind DB 2.0: a binary tree with records of 32 bits, data, metadata), as
 * small as it can be.
 */
export function writeDatabase(networks: readonly Network[]): Buffer {
  const nodes: [number, number][] = [[0, 0]];
  const data: Buffer[] = [];
  const ends: { node: number; side: 0 | 1; offset: number }[] = [];
  let size = 0;
  for (const [network, content] of networks) {
    const [address = "", length = "32"] = network.split("/");
    const bits = address
      .split(".")
      .map((part) => Number(part).toString(2).padStart(8, "0"))
      .join("");
    let node = 0;
    for (let depth = 0; depth < Number(length) - 1; depth += 1) {
      const side = bits[depth] === "1" ? 1 : 0;
      const here = nodes[node] ?? [0, 0];
      if (here[side] === 0) here[side] = nodes.push([0, 0]) - 1;
      node = here[side];
    }
    ends.push({ node, side: bits[Number(length) - 1] === "1" ? 1 : 0, offset: size });
    const encoded = encode(content);
    data.push(encoded);
    size += encoded.length;
  }
  for (const pair of nodes)
    for (const side of [0, 1] as const) if (pair[side] === 0) pair[side] = nodes.length;
  for (const { node, side, offset } of ends)
    (nodes[node] ?? [0, 0])[side] = nodes.length + 16 + offset;
  const tree = Buffer.alloc(nodes.length * 8);
  nodes.forEach(([left, right], index) => {
    tree.writeUInt32BE(left, index * 8);
    tree.writeUInt32BE(right, index * 8 + 4);
  });
  const metadata = encode({
    node_count: nodes.length,
    record_size: 32,
    ip_version: 4,
    database_type: "Test-City",
    binary_format_major_version: 2,
    binary_format_minor_version: 0,
    build_epoch: 1,
    languages: ["en"],
    description: { en: "a test" },
  });
  const marker = Buffer.concat([Buffer.from([0xab, 0xcd, 0xef]), Buffer.from("MaxMind.com")]);
  return Buffer.concat([tree, Buffer.alloc(16), ...data, marker, metadata]);
}

/** Text, numbers, maps and lists, none longer than 28 or, for text, 284. */
function encode(value: unknown): Buffer {
  if (typeof value === "string") {
    const text = Buffer.from(value);
    return Buffer.concat([head(2, text.length), text]);
  }
  if (typeof value === "number" && Number.isInteger(value) && value >= 0) {
    const number = Buffer.alloc(4);
    number.writeUInt32BE(value);
    return Buffer.concat([head(6, 4), number]);
  }
  if (typeof value === "number") {
    const number = Buffer.alloc(8);
    number.writeDoubleBE(value);
    return Buffer.concat([head(3, 8), number]);
  }
  if (Array.isArray(value))
    return Buffer.concat([Buffer.from([value.length, 11 - 7]), ...value.map(encode)]);
  const entries = Object.entries(value as object);
  return Buffer.concat([
    head(7, entries.length),
    ...entries.flatMap(([key, content]) => [encode(key), encode(content)]),
  ]);
}

function head(type: number, length: number): Buffer {
  return length < 29
    ? Buffer.from([(type << 5) | length])
    : Buffer.from([(type << 5) | 29, length - 29]);
}
