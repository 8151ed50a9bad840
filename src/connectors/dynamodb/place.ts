/** Which table of which account and region the options mean. The credentials say the account. Pure. */

/** What a source and a target take alike. */
export interface TableOptions {
  /** The table's name, or its ARN. */
  readonly table: string;
  /** Default: `AWS_REGION`, or the profile's region. */
  readonly region?: string | undefined;
  /** Another server that speaks DynamoDB's protocol, such as DynamoDB local. Default: AWS. */
  readonly endpoint?: string | undefined;
}

export interface TablePlace {
  readonly table: string;
  readonly region: string | null;
  readonly endpoint: string | null;
}

export function placeOf({ table, region, endpoint }: TableOptions): TablePlace {
  return { table, region: region ?? null, endpoint: endpoint ?? null };
}

export function addressOf({ table, region, endpoint }: TablePlace): string {
  return JSON.stringify(["dynamodb", endpoint, region, table]);
}
