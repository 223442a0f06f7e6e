/** Where programs post: the request is authenticated by what it carries, and cookies mean nothing. */
const ENDPOINTS =
  /^\/(token|request|me|reg|backchannel|challenge|device\/auth|conformance|federation\/[\w-]+\/backchannel-logout)(\/|$)/i;

/** What only programs read. */
const DOCUMENTS = /^\/(jwks|\.well-known|healthz|readyz)(\/|$)/i;

/** Whether a path is an endpoint that no browser's form leads to, so that the rules for forms do not apply. */
export function isMachineEndpoint(path: string): boolean {
  return ENDPOINTS.test(path);
}

/** Whether whoever asks at a path is a program, which can do nothing with a page. */
export function isForMachines(path: string): boolean {
  return isMachineEndpoint(path) || DOCUMENTS.test(path);
}
