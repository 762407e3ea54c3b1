"""A small server in the OpenAI form whose replies carry the probe's scores, for trying a detector in one's own client."""
