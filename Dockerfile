# The service alone, without torch, which it does not need.
#
#   docker build -t slifmr .
#   docker run -p 8000:8000 -v "$PWD/exports:/exports:ro" -e SLIFMR_API_KEY slifmr
#
# serves exports/current, a folder of `slifmr export` or a relative link to one: docs/deploy.md.
FROM python:3.11-slim
COPY constraints.txt /source/
RUN pip install --no-cache-dir --constraint /source/constraints.txt \
    fastapi fastapi-offline numpy prometheus-client pyarrow safetensors uvicorn
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE /source/
COPY configs /source/configs
COPY feature_extraction /source/feature_extraction
COPY slifmr_pl /source/slifmr_pl
RUN pip install --no-cache-dir --no-deps /source
USER 10001
EXPOSE 8000
HEALTHCHECK --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/ready')"]
ENTRYPOINT ["slifmr", "serve"]
CMD ["/exports/current", "--host", "0.0.0.0", "--port", "8000"]
