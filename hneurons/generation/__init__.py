"""From questions to responses: prompts, decoding in batches, and the engines that generate."""
