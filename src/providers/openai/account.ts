/** An account is base URL, organization and project, without secrets: `https://api.openai.com/v1|org|project`. Pure. */
import { RowmillError } from "../../model/errors.js";

export const OPENAI_BASE_URL_DEFAULT = "https://api.openai.com/v1";

export interface AccountParts {
  readonly baseURL?: string | undefined;
  readonly organization?: string | undefined;
  readonly project?: string | undefined;
}

/** @throws RowmillError `config_invalid` for an invalid base URL */
export function openaiAccount({ baseURL, organization, project }: AccountParts): string {
  return [cleanBaseUrl(baseURL || OPENAI_BASE_URL_DEFAULT), organization ?? "", project ?? ""].join("|");
}

/** `https://api.openai.com/v1, organization org, project p`; what is not set is left out. */
export function accountText(account: string): string {
  const [baseUrl = "", organization = "", project = ""] = account.split("|");
  const parts = [baseUrl, organization && `organization ${organization}`, project && `project ${project}`];
  return parts.filter((part) => part !== "").join(", ");
}

/** In the order of an account's parts; the key is a secret, and not one of them. */
const VARIABLES = ["OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"] as const;

/** As for a shell: an empty variable counts as absent. */
export function accountVariables(account: string, present: string): readonly string[] {
  const presentParts = present.split("|");
  const parts = account.split("|");
  const differing = VARIABLES.flatMap((name, index) =>
    parts[index] === presentParts[index] ? [] : [`${name}=${parts[index] ?? ""}`],
  );
  return [...differing, "OPENAI_API_KEY"];
}

/** Without a slash at the end. @throws RowmillError `config_invalid` for another address, or one with a password */
export function cleanBaseUrl(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    // Without the cause, which quotes the text and may hold a password.
    throw new RowmillError("config_invalid", "OPENAI_BASE_URL is not a URL; write it as https://host/v1");
  }
  const extras = [url.username, url.password, url.search, url.hash].some((part) => part !== "");
  if (!["http:", "https:"].includes(url.protocol) || extras) {
    throw new RowmillError(
      "config_invalid",
      "OPENAI_BASE_URL must be an http or https URL without a user name, password, `?` or `#`",
    );
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, "");
}
