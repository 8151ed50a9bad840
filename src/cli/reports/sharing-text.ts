/** Owns how it is said that requests shared the lines of equal ones, and what that saved. Pure. */
import { formatUsd } from "../../model/provider/pricing.js";
import { formatCount } from "../screen/text.js";

/** Requests that share the line of an equal one, and what lines of their own would have cost. */
export interface Sharing {
  readonly sharing: number;
  readonly sharingSavedNanoUsd: number;
}

/** Null: none does. */
export function sharingText({ sharing, sharingSavedNanoUsd, requests }: Sharing & { requests: number }): string | null {
  if (sharing === 0) return null;
  const saved = sharingSavedNanoUsd === 0 ? "" : `, ${formatUsd(sharingSavedNanoUsd)} saved`;
  return `${formatCount(sharing)} of ${formatCount(requests)} requests shared the line of an equal one${saved}`;
}

/** For programs. */
export function sharingJson({ sharing, sharingSavedNanoUsd }: Sharing): {
  readonly sharedRequests: number;
  readonly sharingSavedUsd: number;
} {
  return { sharedRequests: sharing, sharingSavedUsd: sharingSavedNanoUsd / 1e9 };
}
