"""How many prompt tokens may be computed between two decode steps, so that running streams keep their gap."""

from __future__ import annotations

# Of what was measured last, in the running means.
WEIGHT_OF_LAST = 0.2
# The part of the target that is planned for; the rest is for what cannot be foreseen.
PLANNED_SHARE = 0.7
LEAST_CHUNK = 16
# The same where prompts go along in the passes of the streams, so that a chunk costs no pass of its own.
LEAST_RIDING = 8
# One slow step is chance, many are the machine: a step counts for at most so many times the mean.
MOST_RISE = 1.5
# Where a decode step alone takes most of the gap, the target cannot be had. Prefill then gets its share of
# the time, more of it the more callers wait, since tiny chunks would cost everybody more than they give.
FULL_GAP_SHARE = 0.7
# A rest of so few tokens is not cut: a pass over a few takes about as long as one over these.
WHOLE_PROMPT = 48
MOST_SHARES = 4
# Of such a share, where prompts go along: the streams' pass is paid for anyway.
RIDING_SHARE = 0.25
# A pass of its own over fewer tokens says more of a pass than of a token.
LEAST_ALONE = 64
# The target is for the 95th percentile. So a small share of the gaps may be longer, which lets several
# callers who come at once have their first tokens sooner; that share is earned by the gaps that were short.
LONG_GAP_SHARE = 0.03
LONG_GAP_FACTOR = 4.0
MOST_LONG_GAPS = 32.0
ASSUMED_SECONDS_PER_TOKEN = 0.001


class Pace:
    """Learns the time of a decode step and of a prompt token. Times in seconds; knows no clock."""

    def __init__(self, target_gap_seconds: float, most_chunk: int) -> None:
        self.target_gap_seconds = target_gap_seconds
        self.most_chunk = most_chunk
        self._decode_seconds = 0.0
        self._last_decoding = 0
        self._token_seconds = ASSUMED_SECONDS_PER_TOKEN
        self._long_gaps = MOST_LONG_GAPS
        # Whether prompts go along in the passes of the streams, so that a token costs no part of a pass.
        self._rides = False

    def chunk(self, decoding: int, waiting: int) -> int:
        """Prompt tokens for this step. `decoding` streams run, `waiting` callers have no token yet."""
        if not decoding:
            return self.most_chunk
        gap = self.target_gap_seconds * PLANNED_SHARE
        if waiting > 1 and self._long_gaps >= decoding:
            gap *= LONG_GAP_FACTOR
        left, least, share_of_time = gap - self._decode_seconds, LEAST_CHUNK, 1.0
        full = self._decode_seconds > self.target_gap_seconds * FULL_GAP_SHARE
        if self._rides:
            least, share_of_time = LEAST_RIDING, RIDING_SHARE
        elif full:
            # A pass of its own costs so much that few tokens are no gain; in the streams' pass they are.
            least = WHOLE_PROMPT
        if full:
            left = max(left, self._decode_seconds * min(max(waiting, 1), MOST_SHARES) * share_of_time)
        return min(max(least, int(left / self._token_seconds)), self.most_chunk)

    def portion(self, chunk: int, remaining: int) -> int:
        """What to compute of a prompt of which so many tokens remain, when this chunk is left of the step."""
        return remaining if remaining <= min(WHOLE_PROMPT, self.most_chunk) else chunk

    def after_step(self, decoding: int, prompt_tokens: int, seconds: float, riding: int = 0) -> None:
        """A step decoded this many streams and computed this many prompt tokens in this time.

        `riding` are prompt tokens besides, in the pass of the streams itself.
        """
        self._rides = self._rides or riding > 0
        # Who joins or leaves has KV copied, in this step or in the pass that it waits for.
        steady, self._last_decoding = decoding == self._last_decoding, decoding
        if decoding:
            self._long_gaps = min(MOST_LONG_GAPS, self._long_gaps + LONG_GAP_SHARE * decoding)
            if seconds > self.target_gap_seconds:
                self._long_gaps -= decoding
        if riding:
            if not prompt_tokens:
                self._learn(max(0.0, seconds - self._decode_seconds) / riding)
        elif not prompt_tokens:
            if steady and decoding:
                self._learn_decode(seconds)
        elif prompt_tokens >= (LEAST_ALONE if self._rides else LEAST_CHUNK):
            self._learn(max(0.0, seconds - (self._decode_seconds if decoding else 0.0)) / prompt_tokens)

    def _learn_decode(self, seconds: float) -> None:
        known = self._decode_seconds or seconds
        self._decode_seconds = known + WEIGHT_OF_LAST * (min(seconds, MOST_RISE * known) - known)

    def _learn(self, token_seconds: float) -> None:
        self._token_seconds += WEIGHT_OF_LAST * (max(token_seconds, 1e-7) - self._token_seconds)

    def tokens_in(self, seconds: float) -> int:
        """How many prompt tokens are expected to fit into this time; at least one chunk's least."""
        return max(LEAST_CHUNK, min(int(seconds / self._token_seconds), self.most_chunk))
