/**
 * The authentication context class (OIDC Core §2, `acr`) of a sign-in that proves one factor. More levels come with
 * more factors.
 */
export const SINGLE_FACTOR = "1";
