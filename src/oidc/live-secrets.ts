import type { Client, Provider } from "oidc-provider";

/** What the engine keeps of a secret: one key for each algorithm that works with it. */
interface KeyStore extends Iterable<object> {
  add(key: object): void;
}

/**
 * While a client changes its secret two of them are live. The engine makes keys from one; here those of the others come
 * after them, so that what the client signs or encrypts with any is understood (OIDC Core §10.1, §10.2), and what it
 * gets is still encrypted with the latest.
 */
export function understandEverySecret(provider: Provider): void {
  const { Client: clients } = provider;
  const find = clients.find.bind(clients);
  // The engine keeps clients as long as what is stored of them is the same.
  const done = new WeakSet<Client>();
  Object.assign(clients, {
    async find(id: string) {
      const client = await find(id);
      if (client === undefined || done.has(client)) return client;
      done.add(client);
      const { older_secrets: older = [] } = client as { older_secrets?: readonly string[] };
      for (const secret of older)
        for (const key of keysOf(provider, client, secret)) storeOf(client).add(key);
      return client;
    },
  });
}

/** The keys that the same client would have with another secret. */
function keysOf(provider: Provider, client: Client, secret: string): KeyStore {
  const Engine = provider.Client as unknown as new (metadata: object) => Client;
  return storeOf(new Engine({ ...client.metadata(), client_secret: secret }));
}

function storeOf(client: Client): KeyStore {
  return (client as unknown as { symmetricKeyStore: KeyStore }).symmetricKeyStore;
}
