import { AUTHORIZATION_TYPE_VERBS } from "./authorization-type-verbs.ts";
import { CLIENT_VERBS } from "./client-verbs.ts";
import { CONNECTION_VERBS } from "./connection-verbs.ts";
import { CONFORMANCE_VERBS } from "./conformance-verbs.ts";
import { GROUP_VERBS } from "./group-verbs.ts";
import { DOMAIN_VERBS } from "./domain-verbs.ts";
import { KEY_VERBS } from "./key-verbs.ts";
import { LOGOUT_VERBS } from "./logout-verbs.ts";
import { ORGANIZATION_VERBS } from "./organization-verbs.ts";
import { PEOPLE_VERBS } from "./people-verbs.ts";
import { REGISTRATION_VERBS } from "./registration-verbs.ts";
import { RESOURCE_VERBS } from "./resource-verbs.ts";
import { ROLE_VERBS } from "./role-verbs.ts";
import { serverVerbs, type Server } from "./server-verbs.ts";
import { USER_VERBS } from "./user-verbs.ts";
import type { Verb } from "./verb.ts";
import { WORKLOAD_VERBS } from "./workload-verbs.ts";

/** Everything that the command line can do, in the order in which its help says so. */
export function allVerbs(server: Server): readonly Verb[] {
  return [
    ...serverVerbs(server),
    ...USER_VERBS,
    ...PEOPLE_VERBS,
    ...GROUP_VERBS,
    ...ROLE_VERBS,
    ...ORGANIZATION_VERBS,
    ...CLIENT_VERBS,
    ...REGISTRATION_VERBS,
    ...LOGOUT_VERBS,
    ...RESOURCE_VERBS,
    ...AUTHORIZATION_TYPE_VERBS,
    ...WORKLOAD_VERBS,
    ...CONNECTION_VERBS,
    ...DOMAIN_VERBS,
    ...KEY_VERBS,
    ...CONFORMANCE_VERBS,
  ];
}
