# One image for every process: the server, the Celery worker, beat, and commands.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

COPY requirements.txt .
RUN pip install --require-hashes -r requirements.txt

COPY manage.py pyproject.toml ./
COPY config config
COPY accounts accounts
COPY bellwether_client bellwether_client
COPY notifications notifications
COPY templates templates

RUN useradd --system --create-home bellwether && mkdir -p var && chown bellwether var
USER bellwether

EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["python", "manage.py", "serve", "--host", "0.0.0.0", "--port", "8000"]
