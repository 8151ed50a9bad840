# Rowmill's worker, built from this checkout with the versions of package-lock.json. docs/docker.md says how to run it.
FROM node:22-bookworm-slim AS build
WORKDIR /opt/rowmill
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json tsconfig.types.json ./
COPY scripts/prune-types.mjs ./scripts/
COPY src ./src
# Both: the compiler is also an optional companion of a library.
RUN npm run build && npm prune --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund
RUN mkdir -p bin project/.rowmill && ln -s ../dist/cli/main.js bin/rowmill && chmod 755 dist/cli/main.js

FROM node:22-bookworm-slim
ENV NODE_ENV=production
ENV PATH=/opt/rowmill/bin:$PATH
COPY package.json LICENSE /opt/rowmill/
COPY migrations /opt/rowmill/migrations
COPY examples /opt/rowmill/examples
COPY --from=build /opt/rowmill/node_modules /opt/rowmill/node_modules
COPY --from=build /opt/rowmill/dist /opt/rowmill/dist
COPY --from=build /opt/rowmill/bin /opt/rowmill/bin
# Its user's own, and so is a new volume for .rowmill.
COPY --from=build --chown=node:node /opt/rowmill/project /srv/project
USER node
WORKDIR /srv/project
# The heartbeat of this container's own worker, as the database has it: not whether a process is there, but whether it works.
HEALTHCHECK --interval=60s --timeout=30s --start-period=120s --retries=3 \
  CMD rowmill status --json --log-level silent | grep -qF "\"host\":\"$(uname -n)\""
# With an init (docker run --init, init: true), because node does not bury children of others.
ENTRYPOINT ["rowmill"]
CMD ["up"]
