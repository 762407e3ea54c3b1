"""From questions to responses: prompts, batched decoding, and the engines that generate."""
