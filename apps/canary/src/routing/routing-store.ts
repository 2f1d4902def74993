/** Keeps the revision of the routing table over restarts, with the fingerprint of the table that has it. */
export interface RoutingStore {
  /**
   * Finds the revision of a table: the stored one when the fingerprint is the stored one, else the next. Never below
   * `atLeast`, and never below a stored revision. What it answers is stored.
   * @param fingerprint hexadecimal digest of the table
   * @param atLeast the revision that gateways may already have; 0 for none
   * @throws when the store is not reachable
   */
  settle(fingerprint: string, atLeast: bigint): Promise<bigint>;
}
